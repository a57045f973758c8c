"""The command line: one thin function per verb. Heavy modules are imported inside them, so that help is fast."""

from neuropil.cli import converting as converting
from neuropil.cli import evaluate as evaluate
from neuropil.cli import info as info
from neuropil.cli import looking as looking
from neuropil.cli import predict as predict
from neuropil.cli import proofreading as proofreading
from neuropil.cli import recipes as recipes
from neuropil.cli import segment as segment
from neuropil.cli import tune as tune
from neuropil.cli.app import app as app
