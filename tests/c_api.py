"""Runs a SavedModel by TensorFlow's C++ loader, as TensorFlow Serving and programs in other languages do.

    python c_api.py LIBRARIES MODEL INPUT OUTPUT[,OUTPUT..] PICTURE...

LIBRARIES is the folder of libtensorflow_cc.so.2 and libtensorflow_framework.so.2 (that of the package tensorflow),
MODEL the SavedModel; INPUT and the OUTPUTs are names of tensors ("name:0"), PICTUREs are files to send. Prints a line
of JSON for each output, all its numbers, and one with the modules of TensorFlow that Python has loaded: none.
"""

import ctypes
import json
import sys
from pathlib import Path

import numpy as np

FLOAT, STRING = 1, 7  # of the C API's types
TSTRING = 24  # bytes of its strings
INVALID_ARGUMENT = 3  # of the C API's codes, which are gRPC's
_VOID, _TEXT, _INT, _SIZE = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
_SIZES = ctypes.POINTER(ctypes.c_int64)
_FUNCTIONS = {
    "TF_NewStatus": (_VOID,),
    "TF_DeleteStatus": (None, _VOID),
    "TF_GetCode": (_INT, _VOID),
    "TF_Message": (_TEXT, _VOID),
    "TF_NewGraph": (_VOID,),
    "TF_NewSessionOptions": (_VOID,),
    "TF_LoadSessionFromSavedModel":
        (_VOID, _VOID, _VOID, _TEXT, ctypes.POINTER(_TEXT), _INT, _VOID, _VOID, _VOID),
    "TF_GraphOperationByName": (_VOID, _VOID, _TEXT),
    "TF_AllocateTensor": (_VOID, _INT, _SIZES, _INT, _SIZE),
    "TF_DeleteTensor": (None, _VOID),
    "TF_TensorData": (_VOID, _VOID),
    "TF_TensorType": (_INT, _VOID),
    "TF_TensorByteSize": (_SIZE, _VOID),
    "TF_NumDims": (_INT, _VOID),
    "TF_Dim": (ctypes.c_int64, _VOID, _INT),
    "TF_StringInit": (None, _VOID),
    "TF_StringCopy": (None, _VOID, _TEXT, _SIZE),
    "TF_StringGetSize": (_SIZE, _VOID),
    "TF_StringGetDataPointer": (_VOID, _VOID),
    "TF_SessionRun": (None, *[_VOID] * 4, _INT, *[_VOID] * 2, _INT, _VOID, _INT, *[_VOID] * 2),
}  # fmt: skip


class Output(ctypes.Structure):
    """TF_Output."""

    _fields_ = (("operation", _VOID), ("index", _INT))


class TensorFlowError(ValueError):
    """What TensorFlow answers instead of numbers; `code` is TensorFlow's, and gRPC's."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class SavedModel:
    """A session of a SavedModel; threads may share it."""

    def __init__(self, libraries, folder):
        """Loads the SavedModel in `folder` by the libraries in `libraries`, or raises `TensorFlowError`."""
        ctypes.CDLL(str(Path(libraries, "libtensorflow_framework.so.2")), ctypes.RTLD_GLOBAL)
        self._library = ctypes.CDLL(str(Path(libraries, "libtensorflow_cc.so.2")), ctypes.RTLD_GLOBAL)
        for name, (result, *arguments) in _FUNCTIONS.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        self._graph = self._library.TF_NewGraph()
        options, tags = self._library.TF_NewSessionOptions(), (_TEXT * 1)(b"serve")
        self._session = self._checked(
            lambda status: self._library.TF_LoadSessionFromSavedModel(
                options, None, str(folder).encode(), tags, 1, self._graph, None, status
            )
        )

    def run(self, inputs, outputs):
        """Arrays of the tensors that `outputs` names, float32 or object (of bytes).

        Args:
          inputs: name of a tensor -> float32 array, or array or list of bytes.
          outputs: names of tensors.
        """
        asked, wanted = ((Output * len(names))(*map(self._tensor, names)) for names in (inputs, outputs))
        given = (_VOID * len(inputs))(*map(self._put, inputs.values()))
        results = (_VOID * len(outputs))()
        try:
            self._checked(
                lambda status: self._library.TF_SessionRun(
                    self._session, None, asked, given, len(given), wanted, results, len(results), None, 0, None, status
                )
            )
            return [self._get(result) for result in results]
        finally:
            for tensor in filter(None, [*given, *results]):
                self._library.TF_DeleteTensor(tensor)

    def _checked(self, call):
        status = self._library.TF_NewStatus()
        try:
            result = call(status)
            if code := self._library.TF_GetCode(status):
                raise TensorFlowError(code, self._library.TF_Message(status).decode(errors="replace"))
            return result
        finally:
            self._library.TF_DeleteStatus(status)

    def _tensor(self, name):
        operation, index = name.split(":")
        found = self._library.TF_GraphOperationByName(self._graph, operation.encode())
        if not found:
            raise TensorFlowError(INVALID_ARGUMENT, f"no operation {operation}")
        return Output(found, int(index))

    def _put(self, values):
        """A new TF_Tensor."""
        array = np.asarray(values)
        text = array.dtype.kind in "OSU"
        array = np.asarray(values, object) if text else np.ascontiguousarray(array, np.float32)
        size = TSTRING * array.size if text else array.nbytes
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        tensor = self._library.TF_AllocateTensor(STRING if text else FLOAT, shape, array.ndim, size)
        place = self._library.TF_TensorData(tensor)
        if not text:
            ctypes.memmove(place, array.ctypes.data, size)
            return tensor
        for row, content in enumerate(array.ravel()):
            self._library.TF_StringInit(place + TSTRING * row)
            self._library.TF_StringCopy(place + TSTRING * row, content, len(content))
        return tensor

    def _get(self, tensor):
        shape = [self._library.TF_Dim(tensor, axis) for axis in range(self._library.TF_NumDims(tensor))]
        place, size = self._library.TF_TensorData(tensor), self._library.TF_TensorByteSize(tensor)
        if self._library.TF_TensorType(tensor) == FLOAT:
            return np.frombuffer(ctypes.string_at(place, size), np.float32).reshape(shape)
        found = np.empty(size // TSTRING, object)
        for row in range(found.size):
            start = self._library.TF_StringGetDataPointer(place + TSTRING * row)
            found[row] = ctypes.string_at(start, self._library.TF_StringGetSize(place + TSTRING * row))
        return found.reshape(shape)


def main():
    folder, model, source, outputs, *files = sys.argv[1:]
    pictures = [Path(path).read_bytes() for path in files]
    for result in SavedModel(folder, model).run({source: pictures}, outputs.split(",")):
        print(json.dumps(result.ravel().tolist()))
    loaded = [name for name in sys.modules if name.partition(".")[0] in ("tensorflow", "keras")]
    print(json.dumps(loaded))


if __name__ == "__main__":
    main()
