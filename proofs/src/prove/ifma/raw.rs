//! Coordinates in the words in which `blst` keeps them, in Montgomery form with R = 2^384.

use blstrs::{G1Affine, G2Affine};
use ff::Field;
use group::prime::PrimeCurveAffine;

/// A point's coordinates as `blst` keeps them.
pub(in crate::prove) trait Raw<const D: usize>: PrimeCurveAffine {
    fn raw(&self) -> [[[u64; 6]; D]; 2];
    fn from_raw(coordinates: [[[u64; 6]; D]; 2]) -> Self;
}

impl Raw<1> for G1Affine {
    fn raw(&self) -> [[[u64; 6]; 1]; 2] {
        let point = self.as_ref();
        [[point.x.l], [point.y.l]]
    }

    fn from_raw([[x], [y]]: [[[u64; 6]; 1]; 2]) -> Self {
        let mut point = Self::identity();
        let raw = point.as_mut();
        (raw.x.l, raw.y.l) = (x, y);
        point
    }
}

impl Raw<2> for G2Affine {
    fn raw(&self) -> [[[u64; 6]; 2]; 2] {
        let point = self.as_ref();
        [
            point.x.fp.map(|number| number.l),
            point.y.fp.map(|number| number.l),
        ]
    }

    fn from_raw([x, y]: [[[u64; 6]; 2]; 2]) -> Self {
        let mut point = Self::identity();
        let raw = point.as_mut();
        for ((to_x, to_y), (x, y)) in raw
            .x
            .fp
            .iter_mut()
            .zip(&mut raw.y.fp)
            .zip(x.into_iter().zip(y))
        {
            (to_x.l, to_y.l) = (x, y);
        }
        point
    }
}

/// The inverse of a number as `blst` keeps it, by the field of its points' coordinates.
pub(super) fn inverse(number: [u64; 6]) -> Option<[u64; 6]> {
    let number = G1Affine::from_raw([[number], [[0; 6]]]).x();
    let inverse = Option::from(number.invert())?;
    let [[inverse], _] = G1Affine::from_raw_unchecked(inverse, number, false).raw();
    Some(inverse)
}
