"""What a team writes itself: FastAPI, one pydantic body, ONNX Runtime on one thread; no statistics, no versions, no candidate."""

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession("model.onnx", options, providers=["CPUExecutionProvider"])
app = FastAPI()


class Row(BaseModel):
    """One row of features."""

    features: list[float]


class Answer(BaseModel):
    """The probabilities of the classes."""

    p: list[float]


@app.get("/ready")
async def ready() -> dict[str, bool]:
    """Say that the model is loaded."""
    return {"ready": True}


@app.post("/predict")
async def predict(row: Row) -> Answer:
    """Answer one request; ``async``, so that no thread pool stands between (in this peer's favour)."""
    (p,) = session.run(["p"], {"X": np.asarray([row.features], np.float32)})
    return Answer(p=p[0].tolist())
