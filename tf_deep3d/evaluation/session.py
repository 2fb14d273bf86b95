"""What a command line of the evaluation asks for, measured by this process or dealt to others part by part.

Each process keeps the results of its part in the folder of all (`result_files`), where the command finds them when it
puts them together. A part that another process has done already, or a killed command, is not measured again.
"""

import argparse
import itertools
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tf_deep3d.data import spread
from tf_deep3d.data.spread import Spread
from tf_deep3d.evaluation import benchmark, named_methods, result_files
from tf_deep3d.evaluation.benchmark import Hooks, Method
from tf_deep3d.evaluation.options import ForeignMethods, own_of
from tf_deep3d.evaluation.protocols import Protocol, loading, now
from tf_deep3d.evaluation.report import Results
from tf_deep3d.face import morphable_model
from tf_deep3d.face.morphable_model import MorphableModel

WORK = ".evaluate"  # in the folder of results, while processes tell there what they did
LARGEST = 50  # cases of a part


class Asked(NamedTuple):
    """What is asked for, as plain data that another process can be told.

    Attributes:
      options: of `options.parser`.
      names: of this project's methods.
      others: (option, what its `parse` gave) of further methods, see `options.foreign_of`.
    """

    options: argparse.Namespace
    names: Sequence[str]
    others: Sequence[tuple[ForeignMethods, tuple]]


class Session(NamedTuple):
    """What is loaded for it.

    Attributes:
      asked: `Asked`.
      protocol: `Protocol`.
      methods: `Method`s.
      levels: of the face model, the coarsest first.
      hooks: `Hooks` but for the progress.
    """

    asked: Asked
    protocol: Protocol
    methods: Sequence[Method]
    levels: Sequence[MorphableModel]
    hooks: Hooks

    @property
    def total(self) -> int:
        """How many results there will be."""
        return len(self.protocol.entries) * len(self.methods)


def networks(options: argparse.Namespace) -> named_methods.Networks:
    """Those that a command line names."""
    return named_methods.Networks(options.model, options.weights, options.cnet, options.scalar)


def load(asked: Asked) -> Session:
    """Loads a `Session`; raises what `loading.load` and `named_methods.load` do."""
    options = asked.options
    levels = morphable_model.load_levels(options.model)
    own = own_of(options)
    protocol = loading.load(options.benchmark, getattr(options, "data", None), levels[-1], own, options.limit)
    methods = named_methods.load(asked.names, levels, networks(options), options.refine, protocol.detail)
    methods += [each.make(*given) for each, given in asked.others]
    described = protocol.recognition and any(method.detects for method in methods)
    hooks = Hooks(
        describe=named_methods.descriptor() if described else None,
        predicted=now.submitting(options.out) if own.get("submission") else None,
    )
    return Session(asked, protocol, methods, levels, hooks)


def measure(
    session: Session, progress: Callable[[int], object], part: slice = slice(None), overwrite: bool = False
) -> Results:
    """`benchmark.run` on some of the cases."""
    out, protocol = session.asked.options.out, session.protocol
    cases = protocol._replace(entries=protocol.entries[part]).cases(result_files.picture_folder(out, protocol.name))
    hooks = session.hooks._replace(progress=progress)
    return benchmark.run(protocol.name, cases, session.methods, session.levels[-1], out, overwrite, hooks)


def deal(session: Session, crew: Spread, overwrite: bool = False) -> None:
    """Has all cases measured by other processes, which must see all files under the same paths.

    Raises:
      InputError: if the folder holds results of something else, or Beam does not take the options.
      OSError: if a worker fails.
    """
    out, protocol = session.asked.options.out, session.protocol
    benchmark.open_folders(protocol.name, session.methods, out, overwrite)
    work = out / WORK
    work.mkdir(exist_ok=True)
    token, asked = secrets.token_hex(8), Asked(*map(_absolute, session.asked))
    jobs = [
        {"name": f"{part.start}-{part.stop}", "part": part, "session": token, "asked": asked, "work": work.absolute()}
        for part in parts(len(protocol.entries), crew.workers)
    ]
    with spread.swept(work), spread.progress(work, session.total, 0, desc="measuring", unit=" results"):
        spread.run(jobs, measure_part, crew)
    shutil.rmtree(work)


def parts(count: int, workers: int) -> list[slice]:
    """Neighbouring cases, which often share photos, in parts: one for each worker at least, none above `LARGEST`."""
    number = max(1, min(max(workers, -(-count // LARGEST)), count))
    bounds = [count * i // number for i in range(number + 1)]
    return [slice(*ends) for ends in itertools.pairwise(bounds)]


_loaded: dict[str, Session] = {}


def measure_part(job: dict[str, Any]) -> str:
    """Measures one part of `deal`, and its progress: one byte for each result; returns the part's name.

    Raises:
      OSError: if it cannot be written.
      StoppedError: if the command has ended.
    """
    if job["session"] not in _loaded:
        _loaded.clear()
        _loaded[job["session"]] = load(job["asked"])
    with open(job["work"] / f"{job['name']}.progress", "wb", buffering=0) as told:

        def tell(count: int) -> None:
            spread.check_command(job)
            told.write(b"." * count)

        measure(_loaded[job["session"]], tell, job["part"])
    return job["name"]


def _absolute(value: Any) -> Any:
    """`value` with all paths in it absolute."""
    if isinstance(value, Path):
        return value.absolute()
    if isinstance(value, argparse.Namespace):
        return argparse.Namespace(**{name: _absolute(each) for name, each in vars(value).items()})
    return type(value)(map(_absolute, value)) if type(value) in (list, tuple) else value
