//! `holdfast audit`.
