//! The sum of many points, each times its scalar, on one thread: buckets for each window of the
//! scalars' bits, filled and summed by affine additions of which hundreds share one inversion.
//!
//! Such an addition costs six multiplications of coordinates where one into a projective point
//! costs eleven. Zeros cost nothing; ones and other short scalars only what their bits ask for.
//! What adds is behind [`Points`]: in lanes where the processor can, else one by one.

// Indices are those of buckets and points that this module itself has counted.
#![allow(clippy::indexing_slicing)]

#[cfg(target_arch = "x86_64")]
use super::ifma::{InLanes, Raw};
use super::portable::OneByOne;
use bellman::SynthesisError;
use blstrs::{G1Affine, G1Projective, G2Affine, G2Projective, Scalar};
use group::Group;
use group::prime::PrimeCurveAffine;

/// A scalar's canonical bytes.
pub(super) type Bytes = [u8; 32];

/// The sum of `scalar * base` over the list, in G1.
pub(super) fn sum1<'a>(
    terms: impl Iterator<Item = (&'a G1Affine, Bytes)>,
) -> Result<G1Projective, SynthesisError> {
    let terms = Terms::of(terms)?;
    #[cfg(target_arch = "x86_64")]
    if let Some(sum) = in_lanes(&terms) {
        return Ok(sum);
    }
    Ok(one_by_one1(&terms))
}

/// The same in G2.
pub(super) fn sum2<'a>(
    terms: impl Iterator<Item = (&'a G2Affine, Bytes)>,
) -> Result<G2Projective, SynthesisError> {
    let terms = Terms::of(terms)?;
    #[cfg(target_arch = "x86_64")]
    if let Some(sum) = in_lanes(&terms) {
        return Ok(sum);
    }
    Ok(one_by_one2(&terms))
}

/// None where the processor cannot.
#[cfg(target_arch = "x86_64")]
fn in_lanes<G, const D: usize>(terms: &Terms<'_, G>) -> Option<G::Curve>
where
    G: Raw<D> + PrimeCurveAffine<Scalar = Scalar>,
{
    let mut points = InLanes::new(&terms.bases, terms.places())?;
    Some(terms.sum(&mut points))
}

fn one_by_one1(terms: &Terms<'_, G1Affine>) -> G1Projective {
    let mut points = OneByOne::new(
        terms.bases.iter().map(|base| (base.x(), base.y())),
        terms.places(),
        |x, y| G1Affine::from_raw_unchecked(x, y, false),
    );
    terms.sum(&mut points)
}

fn one_by_one2(terms: &Terms<'_, G2Affine>) -> G2Projective {
    let mut points = OneByOne::new(
        terms.bases.iter().map(|base| (base.x(), base.y())),
        terms.places(),
        |x, y| G2Affine::from_raw_unchecked(x, y, false),
    );
    terms.sum(&mut points)
}

/// Where a point lies, and whether it or its opposite is meant.
#[derive(Clone, Copy)]
pub(super) struct Place(u32);

impl Place {
    /// Places are fewer than 2^31: so many points would not fit a machine's memory.
    #[inline]
    pub(super) fn new(index: usize, negative: bool) -> Self {
        #[allow(clippy::cast_possible_truncation)]
        Self(2 * index as u32 + u32::from(negative))
    }

    #[inline]
    fn at(index: usize) -> Self {
        Self::new(index, false)
    }

    #[inline]
    pub(super) fn index(self) -> usize {
        (self.0 / 2) as usize
    }

    #[inline]
    pub(super) fn is_negative(self) -> bool {
        self.0 % 2 == 1
    }
}

/// Points at numbered places: first the bases, none of which is the identity, then identities.
///
/// What is asked for is done at the latest when flushed, each reading before the writing that is
/// asked for after it. Until then nothing may be read that waits to be written.
pub(super) trait Points<G: PrimeCurveAffine> {
    /// Puts the sum of two points at a place. Only a base may be taken negative.
    fn add(&mut self, left: Place, right: Place, to: usize);

    /// Puts a copy of a point at a place.
    fn copy(&mut self, from: Place, to: usize);

    /// Does what waits.
    fn flush(&mut self);

    /// The point at a place.
    fn at(&self, place: usize) -> G::Curve;
}

/// What is summed, without scalars that are zero.
struct Terms<'a, G> {
    bases: Vec<&'a G>,
    /// See [`recoded`].
    scalars: Vec<Words>,
    /// The bits of a window.
    width: usize,
}

impl<'a, G: PrimeCurveAffine<Scalar = Scalar>> Terms<'a, G> {
    fn of(terms: impl Iterator<Item = (&'a G, Bytes)>) -> Result<Self, SynthesisError> {
        let (mut bases, mut scalars) = (Vec::new(), Vec::new());
        for (base, scalar) in terms {
            if scalar == [0; 32] {
                continue;
            }
            if base.is_identity().into() {
                return Err(SynthesisError::UnexpectedIdentity);
            }
            bases.push(base);
            scalars.push(words(&scalar));
        }
        let width = window_width(bases.len());
        let halves = halves(width);
        for scalar in &mut scalars {
            *scalar = recoded(scalar, &halves);
        }
        Ok(Self {
            bases,
            scalars,
            width,
        })
    }

    /// How many buckets a window has.
    fn buckets(&self) -> usize {
        1 << (self.width - 1)
    }

    /// The first place of what a window's points are added up in: half of them, and one more for
    /// each bucket that has an odd number.
    fn scratch(&self) -> usize {
        self.bases.len()
    }

    /// The first place of the buckets.
    fn first_bucket(&self) -> usize {
        self.scratch() + self.bases.len().div_ceil(2) + self.buckets()
    }

    /// The first place of the segments' sums, of which there are two for each.
    fn first_segment(&self) -> usize {
        self.first_bucket() + windows(self.width) * self.buckets()
    }

    /// Into how many segments the buckets of a window are cut.
    fn segments(&self) -> usize {
        if self.buckets() >= 64 { 16 } else { 1 }
    }

    /// How many places are needed beside the bases.
    fn places(&self) -> usize {
        self.first_segment() + 2 * windows(self.width) * self.segments() - self.bases.len()
    }

    /// The sum, made at those places.
    fn sum(&self, points: &mut impl Points<G>) -> G::Curve {
        for window in 0..windows(self.width) {
            self.fill(window, points);
        }
        let sums = self.weigh(points);
        sums.into_iter()
            .rev()
            .fold(G::Curve::identity(), |total, sum| {
                (0..self.width).fold(total, |total, _| total.double()) + sum
            })
    }

    /// Puts into each bucket the sum of the points whose digit names it, with their digits' signs.
    fn fill(&self, window: usize, points: &mut impl Points<G>) {
        let reading = Digit::new(window, self.width);
        let mut lengths = vec![0usize; self.buckets()];
        let mut digits = Vec::with_capacity(self.scalars.len());
        for scalar in &self.scalars {
            let digit = reading.of(scalar);
            digits.push(digit);
            if digit != 0 {
                lengths[usize::from(digit.unsigned_abs()) - 1] += 1;
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
        // The points by bucket.
        let mut order = vec![Place::at(0); total];
        for (index, digit) in digits.into_iter().enumerate() {
            if digit != 0 {
                let place = &mut next[usize::from(digit.unsigned_abs()) - 1];
                order[*place] = Place::new(index, digit < 0);
                *place += 1;
            }
        }
        let scratch = self.scratch();
        halve(&mut lengths, scratch, points, |place| order[place]);
        while lengths.iter().any(|length| *length > 1) {
            halve(&mut lengths, scratch, points, |place| {
                Place::at(scratch + place)
            });
        }
        let mut from = scratch;
        let first = self.first_bucket() + window * self.buckets();
        for (bucket, length) in lengths.iter().enumerate() {
            if *length == 1 {
                points.copy(Place::at(from), first + bucket);
                from += 1;
            }
        }
        points.flush();
    }

    /// For each window the sum of its buckets, the first once, the second twice, and so on.
    /// Segments of all windows advance together, so that their additions share inversions.
    fn weigh(&self, points: &mut impl Points<G>) -> Vec<G::Curve> {
        let segments = self.segments();
        let length = self.buckets() / segments;
        let lanes = windows(self.width) * segments;
        let running = self.first_segment();
        let weighed = running + lanes;
        for step in (0..length).rev() {
            for lane in 0..lanes {
                // What was running before this step is weighed in it.
                let (running, weighed) = (running + lane, weighed + lane);
                points.add(Place::at(weighed), Place::at(running), weighed);
                let bucket = self.first_bucket() + lane * length + step;
                points.add(Place::at(running), Place::at(bucket), running);
            }
            points.flush();
        }
        for lane in 0..lanes {
            let weighed = weighed + lane;
            points.add(Place::at(weighed), Place::at(running + lane), weighed);
        }
        points.flush();
        (0..windows(self.width))
            .map(|window| {
                let mut sum = G::Curve::identity();
                // What all buckets of a segment lack: its index times the segments' length.
                let (mut above, mut lacking) = (G::Curve::identity(), G::Curve::identity());
                for segment in (0..segments).rev() {
                    let lane = window * segments + segment;
                    sum += points.at(weighed + lane);
                    if segment > 0 {
                        above += points.at(running + lane);
                        lacking += above;
                    }
                }
                (0..length.trailing_zeros()).fold(lacking, |lacking, _| lacking.double()) + sum
            })
            .collect()
    }
}

/// Adds the points of each bucket in pairs. They are read bucket after bucket, and lie so in the
/// scratch places afterwards; a sum is never written behind what is still to be read, so that
/// those places may be what is read.
fn halve<G: PrimeCurveAffine>(
    lengths: &mut [usize],
    scratch: usize,
    points: &mut impl Points<G>,
    read: impl Fn(usize) -> Place,
) {
    let (mut from, mut to) = (0, scratch);
    for length in lengths {
        for _ in 0..*length / 2 {
            points.add(read(from), read(from + 1), to);
            from += 2;
            to += 1;
        }
        if *length % 2 == 1 {
            points.copy(read(from), to);
            from += 1;
            to += 1;
        }
        *length = length.div_ceil(2);
    }
    points.flush();
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

/// A scalar in words, the lowest first.
type Words = [u64; 4];

fn words(bytes: &Bytes) -> Words {
    let (words, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|i| u64::from_le_bytes(words[i]))
}

/// Half of every window but the highest.
fn halves(width: usize) -> Words {
    let mut halves = [0; 4];
    for window in 1..windows(width) {
        let bit = window * width - 1;
        halves[bit / 64] |= 1 << (bit % 64);
    }
    halves
}

/// The scalar plus the halves: taking a half off each digit again leaves the scalar's signed
/// digits, with nothing to carry.
fn recoded(scalar: &Words, halves: &Words) -> Words {
    let mut carry = false;
    std::array::from_fn(|i| {
        let (sum, over) = scalar[i].overflowing_add(halves[i]);
        let (sum, over_again) = sum.overflowing_add(u64::from(carry));
        carry = over | over_again;
        sum
    })
}

/// How to read the digit of a window: between -2^(width-1) and 2^(width-1).
#[derive(Clone, Copy)]
struct Digit {
    /// The words of the lowest bit and of the highest, and the lowest bit in its word.
    low: usize,
    high: usize,
    bit: usize,
    mask: u64,
    half: i16,
}

impl Digit {
    /// The width is at most 15.
    fn new(window: usize, width: usize) -> Self {
        let first = window * width;
        Self {
            low: first / 64,
            high: ((first + width - 1) / 64).min(3),
            bit: first % 64,
            mask: (1 << width) - 1,
            half: if window + 1 == windows(width) {
                0
            } else {
                1 << (width - 1)
            },
        }
    }

    #[inline]
    fn of(&self, recoded: &Words) -> i16 {
        let low = recoded[self.low] >> self.bit;
        let high = recoded[self.high] << 1 << (63 - self.bit);
        let digit = (if self.low == self.high {
            low
        } else {
            low | high
        }) & self.mask;
        #[allow(clippy::cast_possible_truncation)]
        let digit = digit as i16;
        digit - self.half
    }
}

#[cfg(test)]
mod tests;
