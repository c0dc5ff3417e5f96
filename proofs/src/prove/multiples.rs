//! The sum of many points, each times its scalar, on one thread: buckets for each window of the
//! scalars' bits, filled and summed by affine additions of which hundreds share one inversion.
//!
//! Such an addition costs six multiplications of coordinates where one into a projective point
//! costs eleven. Zeros cost nothing; ones and other short scalars only what their bits ask for.

// Indices are those of buckets and points that this module itself has counted.
#![allow(clippy::indexing_slicing)]

use bellman::SynthesisError;
use blstrs::{G1Affine, G1Projective, G2Affine, G2Projective, Scalar};
use ff::{Field, PrimeField};
use group::Group;
use group::prime::PrimeCurveAffine;

/// The sum of `scalar * base` over the list, in G1.
pub(super) fn sum1<'a>(
    terms: impl Iterator<Item = (&'a G1Affine, &'a Scalar)>,
) -> Result<G1Projective, SynthesisError> {
    sum_of_multiples(
        terms,
        |point| (point.x(), point.y()),
        |x, y| G1Affine::from_raw_unchecked(x, y, false),
    )
}

/// The same in G2.
pub(super) fn sum2<'a>(
    terms: impl Iterator<Item = (&'a G2Affine, &'a Scalar)>,
) -> Result<G2Projective, SynthesisError> {
    sum_of_multiples(
        terms,
        |point| (point.x(), point.y()),
        |x, y| G2Affine::from_raw_unchecked(x, y, false),
    )
}

/// The sum by a group's coordinates, whose type `blstrs` does not name: from a point that is not
/// the identity, and back.
fn sum_of_multiples<'a, G, F>(
    terms: impl Iterator<Item = (&'a G, &'a Scalar)>,
    coordinates: impl Fn(&G) -> (F, F),
    at: impl Fn(F, F) -> G,
) -> Result<G::Curve, SynthesisError>
where
    G: PrimeCurveAffine<Scalar = Scalar>,
    F: Field,
{
    let mut points = Vec::new();
    let mut scalars: Vec<[u8; 32]> = Vec::new();
    for (base, scalar) in terms {
        if scalar.is_zero_vartime() {
            continue;
        }
        if base.is_identity().into() {
            return Err(SynthesisError::UnexpectedIdentity);
        }
        let (x, y) = coordinates(base);
        points.push(Point {
            x,
            y,
            identity: false,
        });
        scalars.push(scalar.to_repr());
    }
    let width = window_width(points.len());
    let windows = windows(width);
    let digits = digits(&scalars, width);
    drop(scalars);

    let size = 1 << (width - 1);
    let mut buckets = vec![Point::IDENTITY; windows * size];
    let mut additions = Additions::new();
    let mut scratch = vec![Point::IDENTITY; points.len()];
    if !points.is_empty() {
        let digits = digits.chunks_exact(points.len());
        for (digits, buckets) in digits.zip(buckets.chunks_exact_mut(size)) {
            fill(&points, digits, buckets, &mut scratch, &mut additions);
        }
    }
    let sums = weigh(&buckets, size, &mut additions, at);
    Ok(sums
        .into_iter()
        .rev()
        .fold(G::Curve::identity(), |total, sum| {
            (0..width).fold(total, |total, _| total.double()) + sum
        }))
}

/// The width of windows that costs least for that many points, in multiplications.
fn window_width(points: usize) -> usize {
    // Each point is added once in each window, each bucket twice, and its share of the rest.
    let cost = |width: &usize| windows(*width) * (6 * points + (14 << (width - 1)));
    (3..=15).min_by_key(cost).unwrap_or(15)
}

/// As many as hold 256 bits: the order of the group has 255, and the highest window needs one
/// more bit for what the lower ones carry.
fn windows(width: usize) -> usize {
    256usize.div_ceil(width)
}

/// The digits of all scalars, the lowest window's first: between -2^(width-1) and 2^(width-1).
fn digits(scalars: &[[u8; 32]], width: usize) -> Vec<i32> {
    let count = scalars.len();
    let mut digits = vec![0; windows(width) * count];
    let half = 1i32 << (width - 1);
    for (index, scalar) in scalars.iter().enumerate() {
        let mut carry = 0;
        for window in 0..windows(width) {
            let mut digit = bits(scalar, window * width, width) + carry;
            carry = i32::from(digit > half);
            digit -= carry << width;
            digits[window * count + index] = digit;
        }
    }
    digits
}

/// Up to 15 bits of a scalar from one on.
fn bits(scalar: &[u8; 32], first: usize, width: usize) -> i32 {
    let byte = |index: usize| i32::from(scalar.get(index).copied().unwrap_or(0));
    let at = first / 8;
    let three = byte(at) | byte(at + 1) << 8 | byte(at + 2) << 16;
    (three >> (first % 8)) & ((1 << width) - 1)
}

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

/// Affine additions that wait for their inversion.
struct Additions<F> {
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

impl<F: Field> Additions<F> {
    fn new() -> Self {
        Self {
            waiting: Vec::with_capacity(BATCH),
            products: Vec::with_capacity(BATCH),
        }
    }

    /// Puts the sum of two points at an index, at the latest when flushed.
    #[inline]
    fn add(&mut self, left: &Point<F>, right: &Point<F>, to: usize, out: &mut [Point<F>]) {
        if left.identity {
            out[to] = *right;
        } else if right.identity {
            out[to] = *left;
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
                self.flush(out);
            }
        }
    }

    /// Does what waits.
    fn flush(&mut self, out: &mut [Point<F>]) {
        let inverse: Option<F> = self.product().invert().into();
        let mut inverse = match inverse {
            Some(inverse) => inverse,
            // Points with the same x are among them.
            None => {
                self.resolve(out);
                Option::from(self.product().invert()).unwrap_or(F::ZERO)
            }
        };
        for (addition, product) in self.waiting.iter().zip(&self.products).rev() {
            let slope = addition.numerator * (inverse * product);
            inverse *= addition.denominator;
            let x = slope.square() - addition.xs;
            out[addition.to] = Point {
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
    fn resolve(&mut self, out: &mut [Point<F>]) {
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
            out[addition.to] = Point::IDENTITY;
            false
        });
    }
}

/// Puts into each bucket the sum of the points whose digit names it, with their digits' signs.
fn fill<F: Field>(
    points: &[Point<F>],
    digits: &[i32],
    buckets: &mut [Point<F>],
    sums: &mut [Point<F>],
    additions: &mut Additions<F>,
) {
    let mut lengths = vec![0usize; buckets.len()];
    for digit in digits {
        if *digit != 0 {
            lengths[digit.unsigned_abs() as usize - 1] += 1;
        }
    }
    let mut total = 0;
    let mut next: Vec<usize> = lengths
        .iter()
        .map(|length| {
            total += length;
            total - length
        })
        .collect();
    // The points' indices by bucket, doubled, and one more where the sign is minus.
    let mut order = vec![0usize; total];
    for (index, digit) in digits.iter().enumerate() {
        if *digit != 0 {
            let place = &mut next[digit.unsigned_abs() as usize - 1];
            order[*place] = 2 * index + usize::from(*digit < 0);
            *place += 1;
        }
    }
    halve(&mut lengths, sums, additions, |_, place| {
        let signed = order[place];
        let mut point = points[signed / 2];
        if signed % 2 == 1 {
            point.y = -point.y;
        }
        point
    });
    while lengths.iter().any(|length| *length > 1) {
        halve(&mut lengths, sums, additions, |sums, place| sums[place]);
    }
    let mut place = 0;
    for (bucket, length) in buckets.iter_mut().zip(&lengths) {
        if *length == 1 {
            *bucket = sums[place];
            place += 1;
        }
    }
}

/// Adds the points of each bucket in pairs. The points lie bucket after bucket, before and after;
/// a sum is never written behind what is still to be read, so both may be the same memory.
fn halve<F: Field>(
    lengths: &mut [usize],
    sums: &mut [Point<F>],
    additions: &mut Additions<F>,
    read: impl Fn(&[Point<F>], usize) -> Point<F>,
) {
    let (mut from, mut to) = (0, 0);
    for length in lengths {
        for _ in 0..*length / 2 {
            let (left, right) = (read(sums, from), read(sums, from + 1));
            additions.add(&left, &right, to, sums);
            from += 2;
            to += 1;
        }
        if *length % 2 == 1 {
            sums[to] = read(sums, from);
            from += 1;
            to += 1;
        }
        *length = length.div_ceil(2);
    }
    additions.flush(sums);
}

/// For each window the sum of its buckets, the first once, the second twice, and so on. Segments
/// of all windows advance together, so that their additions share inversions.
fn weigh<G, F>(
    buckets: &[Point<F>],
    size: usize,
    additions: &mut Additions<F>,
    at: impl Fn(F, F) -> G,
) -> Vec<G::Curve>
where
    G: PrimeCurveAffine<Scalar = Scalar>,
    F: Field,
{
    let to_curve = |point: &Point<F>| {
        if point.identity {
            G::Curve::identity()
        } else {
            at(point.x, point.y).to_curve()
        }
    };
    let segments = if size >= 64 { 16 } else { 1 };
    let length = size / segments;
    let lanes = buckets.len() / length;
    let mut running = vec![Point::IDENTITY; lanes];
    let mut weighed = vec![Point::IDENTITY; lanes];
    for step in (0..length).rev() {
        for lane in 0..lanes {
            let sum = running[lane];
            additions.add(&sum, &buckets[lane * length + step], lane, &mut running);
        }
        additions.flush(&mut running);
        for (lane, running) in running.iter().enumerate() {
            let sum = weighed[lane];
            additions.add(&sum, running, lane, &mut weighed);
        }
        additions.flush(&mut weighed);
    }
    running
        .chunks_exact(segments)
        .zip(weighed.chunks_exact(segments))
        .map(|(running, weighed)| {
            let mut sum = G::Curve::identity();
            // What all buckets of a segment lack: its index times the segments' length.
            let (mut above, mut lacking) = (G::Curve::identity(), G::Curve::identity());
            for (index, running) in running.iter().enumerate().rev() {
                if index > 0 {
                    above += to_curve(running);
                    lacking += above;
                }
            }
            for weighed in weighed {
                sum += to_curve(weighed);
            }
            (0..length.trailing_zeros()).fold(lacking, |lacking, _| lacking.double()) + sum
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use group::Curve;
    use rand::{Rng, SeedableRng};

    /// A sum of the module, for either group.
    type Sum<G> = fn(&[G], &[Scalar]) -> <G as PrimeCurveAffine>::Curve;

    fn in_g1(bases: &[G1Affine], scalars: &[Scalar]) -> G1Projective {
        sum1(bases.iter().zip(scalars)).unwrap()
    }

    fn in_g2(bases: &[G2Affine], scalars: &[Scalar]) -> G2Projective {
        sum2(bases.iter().zip(scalars)).unwrap()
    }

    fn assert_sum<G: PrimeCurveAffine<Scalar = Scalar>>(
        sum: Sum<G>,
        bases: &[G],
        scalars: &[Scalar],
    ) {
        let expected = bases
            .iter()
            .zip(scalars)
            .fold(G::Curve::identity(), |sum, (base, scalar)| {
                sum + base.to_curve() * scalar
            });
        assert!(sum(bases, scalars) == expected, "{} terms", bases.len());
    }

    fn check<G: PrimeCurveAffine<Scalar = Scalar>>(sum: Sum<G>, seed: u64, counts: &[usize]) {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
        for count in counts {
            let bases: Vec<G> = (0..*count)
                .map(|_| (G::generator() * Scalar::random(&mut rng)).to_affine())
                .collect();
            let scalars: Vec<Scalar> = (0..*count)
                .map(|index| match index % 7 {
                    0 => Scalar::ZERO,
                    1 => Scalar::ONE,
                    2 => -Scalar::ONE,
                    3 => Scalar::from(rng.r#gen::<u16>() as u64),
                    4 => -Scalar::from(rng.r#gen::<u16>() as u64),
                    _ => Scalar::random(&mut rng),
                })
                .collect();
            assert_sum(sum, &bases, &scalars);
        }
    }

    #[test]
    fn sums_in_both_groups_are_those_of_single_multiples() {
        check(in_g1, 1, &[0, 1, 2, 3, 40, 700, 3000]);
        check(in_g2, 2, &[0, 1, 5, 300]);
    }

    #[test]
    fn points_that_repeat_and_points_that_cancel_are_summed() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(3);
        let point = blstrs::G1Projective::random(&mut rng).to_affine();
        let scalar = Scalar::random(&mut rng);
        for pattern in [
            vec![(point, scalar); 5],
            vec![(point, scalar), (-point, scalar)],
            vec![(point, scalar), (point, -scalar), (point, Scalar::ONE)],
            vec![
                (point, scalar),
                (-point, scalar),
                (point, scalar),
                (-point, scalar),
            ],
            vec![(point, scalar); 1100],
        ] {
            let (bases, scalars): (Vec<_>, Vec<_>) = pattern.into_iter().unzip();
            assert_sum(in_g1, &bases, &scalars);
        }
    }

    #[test]
    fn a_base_that_is_the_identity_is_refused_unless_its_scalar_is_zero() {
        let base = G1Affine::identity();
        assert!(matches!(
            sum1([(&base, &Scalar::ONE)].into_iter()),
            Err(SynthesisError::UnexpectedIdentity)
        ));
        let sum = sum1([(&base, &Scalar::ZERO)].into_iter()).unwrap();
        assert!(bool::from(sum.is_identity()));
    }

    #[test]
    fn digits_of_every_width_make_up_the_scalar() {
        let scalars = [
            Scalar::ZERO,
            Scalar::ONE,
            -Scalar::ONE,
            -Scalar::from(12_345),
        ];
        let bytes: Vec<[u8; 32]> = scalars.iter().map(|scalar| scalar.to_repr()).collect();
        for width in 3..=15 {
            let digits = digits(&bytes, width);
            for (index, scalar) in scalars.iter().enumerate() {
                let made =
                    digits
                        .chunks_exact(scalars.len())
                        .rev()
                        .fold(Scalar::ZERO, |made, digits| {
                            let digit = digits[index];
                            assert!(digit.unsigned_abs() <= 1 << (width - 1));
                            let size = Scalar::from(u64::from(digit.unsigned_abs()));
                            made * Scalar::from(1 << width) + if digit < 0 { -size } else { size }
                        });
                assert_eq!(made, *scalar, "width {width}");
            }
        }
    }
}
