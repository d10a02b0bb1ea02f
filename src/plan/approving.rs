//! How a held plan is approved: the two commands that the command line, the status page, the API
//! and the webhook print. Only this module builds them, from what was recorded with the refusal.

use serde::{Deserialize, Serialize};

use super::{Refusal, Strategy};
use crate::compare::Depth;
use crate::model::{DatasetName, Day};

/// How to draft exactly the same plan again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drafted {
    /// How closely the day was checked.
    pub depth: Depth,
    /// The order of the plan's steps.
    pub strategy: Strategy,
}

impl Drafted {
    /// One command writes the plan to a file; the other carries out the plan with this digest and
    /// no other. Each file is named after its dataset and day, so that the commands of several days
    /// can be pasted together. Names and days need no quoting in a shell.
    #[must_use]
    pub fn approval_commands(self, dataset: &DatasetName, day: Day, digest: &str) -> [String; 2] {
        let depth = match self.depth {
            Depth::Survey | Depth::Keys => "",
            Depth::Content => " --depth content",
        };
        let rewrite = match self.strategy {
            Strategy::Repair => "",
            Strategy::Rewrite => " --rewrite",
        };
        let file = format!("{dataset}-{day}.plan");
        [
            format!("sodalake plan {dataset} --partition {day}{depth}{rewrite} --out {file}"),
            format!("sodalake apply {file} --approve {digest}"),
        ]
    }
}

impl Refusal {
    /// The commands that approve the refused plan; `None` if no approval would let it pass.
    #[must_use]
    pub fn approval_commands(&self, dataset: &DatasetName, day: Day) -> Option<[String; 2]> {
        self.is_approvable()
            .then(|| self.drafted().approval_commands(dataset, day, &self.digest))
    }

    /// How to draft the refused plan again.
    #[must_use]
    pub fn drafted(&self) -> Drafted {
        Drafted {
            depth: self.depth,
            strategy: self.strategy,
        }
    }
}
