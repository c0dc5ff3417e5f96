//! Position bits, choosing one of eight, and opening a leaf in a tree.

use super::number::{DERIVED, Number, WITNESS, enforce, enforce_equal};
use super::permutation::Hashes;
use crate::node::Node;
use crate::packing::PACKED_BITS;
use bellman::{ConstraintSystem, SynthesisError};
use ff::PrimeField;

/// Three bits: one octary digit of a position, lowest bit first.
pub(crate) type Digit<F> = [Number<F>; 3];

/// A position's octary digits, lowest first, each bit shown to be 0 or 1.
pub(crate) fn allocate_digits<F: PrimeField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    value: Option<u64>,
    digits: usize,
) -> Result<Vec<Digit<F>>, SynthesisError> {
    let mut bit = |index: usize| -> Result<Number<F>, SynthesisError> {
        let value = value.map(|value| F::from(value >> index & 1));
        let bit = Number::allocate(cs, WITNESS, value)?;
        let inverse = Number::constant::<CS>(F::ONE).minus(&bit);
        enforce(cs, "bit", &inverse, &bit, &Number::zero());
        Ok(bit)
    };
    (0..digits)
        .map(|digit| Ok([bit(3 * digit)?, bit(3 * digit + 1)?, bit(3 * digit + 2)?]))
        .collect()
}

/// The integer of a list of digits.
pub(crate) fn integer<F: PrimeField>(digits: &[Digit<F>]) -> Number<F> {
    let mut power = F::ONE;
    let bits: Vec<(F, &Number<F>)> = digits
        .iter()
        .flatten()
        .map(|bit| {
            let factor = power;
            power = power.double();
            (factor, bit)
        })
        .collect();
    Number::sum(bits)
}

/// The bits, cut into elements of [`PACKED_BITS`], are the packed public inputs.
pub(crate) fn enforce_packed<F: PrimeField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    bits: &[Number<F>],
    packed: &[Number<F>],
) -> Result<(), SynthesisError> {
    let chunks = bits.chunks(PACKED_BITS);
    if chunks.len() != packed.len() {
        return Err(SynthesisError::Unsatisfiable);
    }
    for (chunk, packed) in chunks.zip(packed) {
        let mut power = F::ONE;
        let sum = Number::sum(chunk.iter().map(|bit| {
            let factor = power;
            power = power.double();
            (factor, bit)
        }));
        enforce_equal(cs, "packed", &sum, packed);
    }
    Ok(())
}

/// `low` where the bit is 0, `high` where it is 1.
fn either<F: PrimeField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    bit: &Number<F>,
    low: &Number<F>,
    high: &Number<F>,
) -> Result<Number<F>, SynthesisError> {
    let value = match (bit.value, low.value, high.value) {
        (Some(bit), Some(low), Some(high)) => Some(low + bit * (high - low)),
        _ => None,
    };
    let chosen = Number::allocate(cs, DERIVED, value)?;
    enforce(cs, "either", &high.minus(low), bit, &chosen.minus(low));
    Ok(chosen)
}

/// Six of the seven choices by which a digit picks one of eight: the two numbers that are left,
/// between which the digit's highest bit decides.
pub(crate) struct Halves<F> {
    low: Number<F>,
    high: Number<F>,
}

impl<F: PrimeField> Halves<F> {
    /// Chooses by the lower two bits, in six constraints.
    pub(crate) fn choose<CS: ConstraintSystem<F>>(
        cs: &mut CS,
        digit: &Digit<F>,
        options: &[Number<F>; 8],
    ) -> Result<Self, SynthesisError> {
        let [a, b, c, d, e, f, g, h] = options;
        let [first, second, _] = digit;
        let pairs = [
            either(cs, first, a, b)?,
            either(cs, first, c, d)?,
            either(cs, first, e, f)?,
            either(cs, first, g, h)?,
        ];
        let [a, b, c, d] = &pairs;
        Ok(Self {
            low: either(cs, second, a, b)?,
            high: either(cs, second, c, d)?,
        })
    }

    /// The number that the highest bit chooses is `chosen`: the seventh constraint.
    pub(crate) fn enforce_is<CS: ConstraintSystem<F>>(
        &self,
        cs: &mut CS,
        digit: &Digit<F>,
        chosen: &Number<F>,
    ) {
        let [_, _, third] = digit;
        enforce(
            cs,
            "chosen",
            &self.high.minus(&self.low),
            third,
            &chosen.minus(&self.low),
        );
    }
}

/// Hashes a leaf up to the root of its tree. At each level all eight children are variables, and
/// the digit shows that the node below is the child in its slot.
pub(crate) fn open<F: PrimeField<Repr = [u8; 32]>, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    hashes: &Hashes<F>,
    leaf: &Number<F>,
    digits: &[Digit<F>],
    siblings: Option<&Vec<[Node; 7]>>,
) -> Result<Number<F>, SynthesisError> {
    let mut node = leaf.clone();
    for (level, digit) in digits.iter().enumerate() {
        let siblings = match siblings {
            None => None,
            Some(siblings) => Some(siblings.get(level).ok_or(SynthesisError::Unsatisfiable)?),
        };
        let slot = slot(digit);
        let mut left = siblings.into_iter().flatten();
        let mut children = Vec::with_capacity(8);
        for child in 0..8 {
            let (mark, value) = if slot == Some(child) {
                (DERIVED, node.value)
            } else {
                (WITNESS, left.next().map(|sibling| sibling.to_scalar()))
            };
            children.push(Number::allocate(cs, mark, value)?);
        }
        let children: [Number<F>; 8] = children
            .try_into()
            .map_err(|_| SynthesisError::Unsatisfiable)?;
        Halves::choose(cs, digit, &children)?.enforce_is(cs, digit, &node);
        node = hashes.eight.hash(cs, &children.each_ref())?;
    }
    Ok(node)
}

/// Which of eight the digit names, when proving.
fn slot<F: PrimeField>(digit: &Digit<F>) -> Option<usize> {
    digit.iter().enumerate().try_fold(0, |slot, (index, bit)| {
        let set = !bit.value?.is_zero_vartime();
        Some(slot | usize::from(set) << index)
    })
}
