"""The demo's shops: real data (``completejourney``) and a made one at the original's size (``synthetic``), whole or day by day.

A data set (``shop.Dataset``) gives rows and knows no database. ``seed`` fills the shop's database with one, in one transaction;
``replay`` then lives through its days, a transaction a day. docs/datasets.md says what is real, what is derived and what is made up.
"""

from rainbow.datasets.catalogue import NAMES, open_dataset
from rainbow.datasets.replaying import ReplayState, replay, replay_day, replay_state
from rainbow.datasets.seeding import seed

__all__ = ["NAMES", "ReplayState", "open_dataset", "replay", "replay_day", "replay_state", "seed"]
