"""Networks in TFLite files, run by LiteRT on the CPU: they start at once, without TensorFlow."""

from collections import deque
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tf_deep3d import assets
from tf_deep3d.command_line import muted
from tf_deep3d.errors import InputError


def open_interpreter(path: Path, threads: int = 1) -> Any:
    """An `ai_edge_litert.interpreter.Interpreter` of a `.tflite` file, its tensors allocated.

    Raises:
      InputError: if the file is damaged, or an asset that is not the one that was shipped.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        with muted():  # XNNPACK says that it is there
            interpreter = Interpreter(str(assets.checked(path)), num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{path} must be a network for LiteRT. Received: {str(error).splitlines()[0]}") from error
    return interpreter


class Network:
    """A network with one input and named outputs, for one picture at a time and as many threads as ask for it.

    Attributes:
      path: of its file.
    """

    def __init__(self, path: Path) -> None:
        """Opens the `.tflite` file at `path`; raises InputError if it is damaged."""
        self.path = path
        self._idle: deque[Any] = deque([self._open()])  # append and pop are atomic

    def _open(self) -> Any:
        return open_interpreter(self.path).get_signature_runner()

    @contextmanager
    def _lend(self) -> Generator[Any]:
        """Lends an interpreter to one thread at a time; kept for the life of the network."""
        try:
            runner = self._idle.pop()
        except IndexError:
            runner = self._open()
        try:
            yield runner
        finally:
            self._idle.append(runner)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name of an output -> its shape without the batch."""
        with self._lend() as runner:
            return {name: tuple(each["shape"][1:].tolist()) for name, each in runner.get_output_details().items()}

    def run(self, pictures: np.ndarray) -> Mapping[str, np.ndarray]:
        """The outputs for `pictures` [B, H, W, 3] float32: name -> [B, ..]. Each picture is answered for itself."""
        with self._lend() as runner:
            (name,) = runner.get_input_details()
            answers = [runner(**{name: np.asarray(picture[None], np.float32)}) for picture in pictures]
            return {each: np.concatenate([answer[each] for answer in answers]) for each in answers[0]}
