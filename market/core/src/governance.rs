//! Numbers that stake can move, one at a time, within bounds that no vote can cross.

use crate::parameters::{Economy, Parameters};
use crate::units::{Address, Amount, Blocks, Height, ProposalId, Stake};
use serde::{Deserialize, Serialize};

/// How numbers are voted on, and how far each may go. Fixed in genesis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Governance {
    /// A proposal is voted on for so long.
    pub voting: Blocks,
    /// From the end of the vote until the number changes: who relies on it can act before.
    pub notice: Blocks,
    /// Taken with a proposal; comes back where it passes and burns where it does not.
    pub deposit: Amount,
    /// No number goes below its own here.
    pub least: Economy,
    /// No number goes above its own here.
    pub most: Economy,
}

/// A number of [`Economy`] that is an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // The names are those of the fields, and their docs say what they are.
pub enum AmountParameter {
    MinimumFee,
    FeePerKib,
    CollateralPerGib,
    DealCollateralPerGib,
    MinimumCollateral,
    SealDeposit,
    EmbedDeposit,
    OpeningDeposit,
    RepairDeposit,
    RepairPerGib,
    FaultFeePerGib,
    MissedFeePerGib,
    RewardPerPeriod,
    RewardCapPerGib,
    MinimumPrice,
}

/// A number of [`Economy`] that is a share or a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // As above.
pub enum ShareParameter {
    FinderThousandths,
    DealWeightTenths,
    BurnThousandths,
}

/// One number and what it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterChange {
    /// An amount.
    Amount {
        /// Which.
        parameter: AmountParameter,
        /// From then on.
        value: Amount,
    },
    /// A share.
    Share {
        /// Which.
        parameter: ShareParameter,
        /// From then on.
        value: u64,
    },
}

impl AmountParameter {
    /// Every one.
    pub const ALL: [Self; 15] = [
        Self::MinimumFee,
        Self::FeePerKib,
        Self::CollateralPerGib,
        Self::DealCollateralPerGib,
        Self::MinimumCollateral,
        Self::SealDeposit,
        Self::EmbedDeposit,
        Self::OpeningDeposit,
        Self::RepairDeposit,
        Self::RepairPerGib,
        Self::FaultFeePerGib,
        Self::MissedFeePerGib,
        Self::RewardPerPeriod,
        Self::RewardCapPerGib,
        Self::MinimumPrice,
    ];

    /// The field of [`Economy`] that it is.
    pub fn name(self) -> &'static str {
        match self {
            Self::MinimumFee => "minimum_fee",
            Self::FeePerKib => "fee_per_kib",
            Self::CollateralPerGib => "collateral_per_gib",
            Self::DealCollateralPerGib => "deal_collateral_per_gib",
            Self::MinimumCollateral => "minimum_collateral",
            Self::SealDeposit => "seal_deposit",
            Self::EmbedDeposit => "embed_deposit",
            Self::OpeningDeposit => "opening_deposit",
            Self::RepairDeposit => "repair_deposit",
            Self::RepairPerGib => "repair_per_gib",
            Self::FaultFeePerGib => "fault_fee_per_gib",
            Self::MissedFeePerGib => "missed_fee_per_gib",
            Self::RewardPerPeriod => "reward_per_period",
            Self::RewardCapPerGib => "reward_cap_per_gib",
            Self::MinimumPrice => "minimum_price",
        }
    }

    fn of(self, economy: &mut Economy) -> &mut Amount {
        match self {
            Self::MinimumFee => &mut economy.minimum_fee,
            Self::FeePerKib => &mut economy.fee_per_kib,
            Self::CollateralPerGib => &mut economy.collateral_per_gib,
            Self::DealCollateralPerGib => &mut economy.deal_collateral_per_gib,
            Self::MinimumCollateral => &mut economy.minimum_collateral,
            Self::SealDeposit => &mut economy.seal_deposit,
            Self::EmbedDeposit => &mut economy.embed_deposit,
            Self::OpeningDeposit => &mut economy.opening_deposit,
            Self::RepairDeposit => &mut economy.repair_deposit,
            Self::RepairPerGib => &mut economy.repair_per_gib,
            Self::FaultFeePerGib => &mut economy.fault_fee_per_gib,
            Self::MissedFeePerGib => &mut economy.missed_fee_per_gib,
            Self::RewardPerPeriod => &mut economy.reward_per_period,
            Self::RewardCapPerGib => &mut economy.reward_cap_per_gib,
            Self::MinimumPrice => &mut economy.minimum_price,
        }
    }
}

impl ShareParameter {
    /// Every one.
    pub const ALL: [Self; 3] = [
        Self::FinderThousandths,
        Self::DealWeightTenths,
        Self::BurnThousandths,
    ];

    /// The field of [`Economy`] that it is.
    pub fn name(self) -> &'static str {
        match self {
            Self::FinderThousandths => "finder_thousandths",
            Self::DealWeightTenths => "deal_weight_tenths",
            Self::BurnThousandths => "burn_thousandths",
        }
    }

    fn of(self, economy: &mut Economy) -> &mut u64 {
        match self {
            Self::FinderThousandths => &mut economy.finder_thousandths,
            Self::DealWeightTenths => &mut economy.deal_weight_tenths,
            Self::BurnThousandths => &mut economy.burn_thousandths,
        }
    }
}

impl ParameterChange {
    /// The numbers once it is made.
    pub fn applied(&self, economy: &Economy) -> Economy {
        let mut changed = economy.clone();
        match *self {
            Self::Amount { parameter, value } => *parameter.of(&mut changed) = value,
            Self::Share { parameter, value } => *parameter.of(&mut changed) = value,
        }
        changed
    }
}

/// A change that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Beyond the bounds of the genesis.
    #[error("the number must lie between the {least} and {most} that the genesis allows")]
    Bounds {
        /// The least.
        least: String,
        /// The most.
        most: String,
    },
    /// The numbers would contradict each other.
    #[error("with that number the parameters cannot work: {0}")]
    Contradiction(String),
}

impl Governance {
    /// A development network's: minutes where `main` has weeks.
    pub fn dev(economy: &Economy) -> Self {
        let scale = |factor: fn(u128) -> u128| {
            let mut scaled = economy.clone();
            for parameter in AmountParameter::ALL {
                let amount = parameter.of(&mut scaled);
                *amount = Amount(factor(amount.0));
            }
            scaled
        };
        let shares = |mut economy: Economy, finder, weight, burnt| {
            economy.finder_thousandths = finder;
            economy.deal_weight_tenths = weight;
            economy.burn_thousandths = burnt;
            economy
        };
        Self {
            voting: Blocks(60),
            notice: Blocks(30),
            deposit: Amount::hold(10),
            least: shares(scale(|amount| amount / 4), 10, 10, 10),
            most: shares(scale(|amount| amount.saturating_mul(4)), 500, 40, 500),
        }
    }

    /// The numbers after a change, where it can be made.
    ///
    /// # Errors
    /// A number beyond its bounds, or numbers that contradict each other.
    pub fn change(
        &self,
        parameters: &Parameters,
        change: &ParameterChange,
    ) -> Result<Economy, ChangeError> {
        let within = match *change {
            ParameterChange::Amount { parameter, value } => {
                let (least, most) = self.amounts(parameter);
                (value < least || value > most).then(|| (least.to_string(), most.to_string()))
            }
            ParameterChange::Share { parameter, value } => {
                let (least, most) = self.shares(parameter);
                (value < least || value > most).then(|| (least.to_string(), most.to_string()))
            }
        };
        if let Some((least, most)) = within {
            return Err(ChangeError::Bounds { least, most });
        }
        let economy = change.applied(&parameters.economy);
        let changed = Parameters {
            economy: economy.clone(),
            ..parameters.clone()
        };
        changed.check().map_err(ChangeError::Contradiction)?;
        Ok(economy)
    }

    fn amounts(&self, parameter: AmountParameter) -> (Amount, Amount) {
        let of = |economy: &Economy| *parameter.of(&mut economy.clone());
        (of(&self.least), of(&self.most))
    }

    fn shares(&self, parameter: ShareParameter) -> (u64, u64) {
        let of = |economy: &Economy| *parameter.of(&mut economy.clone());
        (of(&self.least), of(&self.most))
    }

    /// Whether the first numbers lie within the bounds.
    pub(crate) fn holds(&self, economy: &Economy) -> bool {
        let amounts = AmountParameter::ALL.into_iter().all(|parameter| {
            let (least, most) = self.amounts(parameter);
            (least..=most).contains(parameter.of(&mut economy.clone()))
        });
        let shares = ShareParameter::ALL.into_iter().all(|parameter| {
            let (least, most) = self.shares(parameter);
            (least..=most).contains(parameter.of(&mut economy.clone()))
        });
        amounts && shares
    }
}

/// A proposal as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Its number.
    pub id: ProposalId,
    /// Who proposed it.
    pub by: Address,
    /// What.
    pub change: ParameterChange,
    /// What lies in it.
    pub deposit: Amount,
    /// The last height at which it can be voted on.
    pub closes: Height,
    /// Stake that is for it.
    pub approving: Stake,
    /// Stake that is against it.
    pub rejecting: Stake,
    /// All that was at stake, at the most, whenever it was voted on.
    pub staked: Stake,
    /// Where it stands.
    pub status: ProposalStatus,
}

/// Where a proposal stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProposalStatus {
    /// It is voted on.
    Open,
    /// More than a third of all stake was for it, and more for it than against it.
    Passed {
        /// At the end of this block the number changes.
        at: Height,
    },
    /// The number has changed.
    Made,
    /// It did not pass.
    Rejected,
    /// It passed, and by its height the number could not be made what it asks.
    Impossible,
}
