//! Affine additions of points one by one, in the arithmetic of `blst`: for every processor.

// Indices are places that the caller has asked for, of which there are as many as it asked for.
#![allow(clippy::indexing_slicing)]

use super::multiples::{Place, Points};
use ff::Field;
use group::Group;
use group::prime::PrimeCurveAffine;

#[derive(Clone, Copy)]
struct Point<F> {
    x: F,
    y: F,
    identity: bool,
}

impl<F: Field> Point<F> {
    const IDENTITY: Self = Self {
        x: F::ZERO,
        y: F::ZERO,
        identity: true,
    };
}

/// How many additions share an inversion.
const BATCH: usize = 512;

/// Points at places, with coordinates whose type `blstrs` does not name.
pub(super) struct OneByOne<F, A> {
    points: Vec<Point<F>>,
    /// The point at coordinates.
    curve: A,
    /// Affine additions that wait for their inversion.
    waiting: Vec<Addition<F>>,
    /// The product of the denominators before each.
    products: Vec<F>,
}

/// The line through two points, or the tangent of one.
struct Addition<F> {
    x: F,
    y: F,
    /// The sum of both x.
    xs: F,
    numerator: F,
    denominator: F,
    to: usize,
}

impl<F: Field, A> OneByOne<F, A> {
    /// The bases at the first places, then so many identities.
    pub(super) fn new(bases: impl Iterator<Item = (F, F)>, more: usize, curve: A) -> Self {
        let mut points: Vec<Point<F>> = bases
            .map(|(x, y)| Point {
                x,
                y,
                identity: false,
            })
            .collect();
        points.resize(points.len() + more, Point::IDENTITY);
        Self {
            points,
            curve,
            waiting: Vec::with_capacity(BATCH),
            products: Vec::with_capacity(BATCH),
        }
    }

    fn read(&self, place: Place) -> Point<F> {
        let mut point = self.points[place.index()];
        if place.is_negative() {
            point.y = -point.y;
        }
        point
    }

    fn solve(&mut self) {
        let inverse: Option<F> = self.product().invert().into();
        let mut inverse = match inverse {
            Some(inverse) => inverse,
            // Points with the same x are among them.
            None => {
                self.resolve();
                Option::from(self.product().invert()).unwrap_or(F::ZERO)
            }
        };
        for (addition, product) in self.waiting.iter().zip(&self.products).rev() {
            let slope = addition.numerator * (inverse * product);
            inverse *= addition.denominator;
            let x = slope.square() - addition.xs;
            self.points[addition.to] = Point {
                x,
                y: slope * (addition.x - x) - addition.y,
                identity: false,
            };
        }
        self.waiting.clear();
    }

    /// The product of all denominators; keeps those on the way.
    fn product(&mut self) -> F {
        self.products.clear();
        let mut product = F::ONE;
        for addition in &self.waiting {
            self.products.push(product);
            product *= addition.denominator;
        }
        product
    }

    /// Makes tangents of the points that are to be doubled, and takes out opposite ones.
    fn resolve(&mut self) {
        self.waiting.retain_mut(|addition| {
            if !addition.denominator.is_zero_vartime() {
                return true;
            }
            // No point of the groups has order two: y is not zero where both are the same.
            if addition.numerator.is_zero_vartime() {
                let square = addition.x.square();
                addition.numerator = square.double() + square;
                addition.denominator = addition.y.double();
                return true;
            }
            self.points[addition.to] = Point::IDENTITY;
            false
        });
    }
}

impl<G, F, A> Points<G> for OneByOne<F, A>
where
    G: PrimeCurveAffine,
    F: Field,
    A: Fn(F, F) -> G,
{
    #[inline]
    fn add(&mut self, left: Place, right: Place, to: usize) {
        let (left, right) = (self.read(left), self.read(right));
        if left.identity {
            self.points[to] = right;
        } else if right.identity {
            self.points[to] = left;
        } else {
            self.waiting.push(Addition {
                x: left.x,
                y: left.y,
                xs: left.x + right.x,
                numerator: right.y - left.y,
                denominator: right.x - left.x,
                to,
            });
            if self.waiting.len() == BATCH {
                self.solve();
            }
        }
    }

    #[inline]
    fn copy(&mut self, from: Place, to: usize) {
        self.points[to] = self.read(from);
    }

    fn flush(&mut self) {
        self.solve();
    }

    fn at(&self, place: usize) -> G::Curve {
        let point = &self.points[place];
        if point.identity {
            G::Curve::identity()
        } else {
            (self.curve)(point.x, point.y).to_curve()
        }
    }
}
