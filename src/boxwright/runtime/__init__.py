"""Prediction with an exported model: numpy, Pillow and onnxruntime (or OpenVINO), without torch.

    from boxwright.runtime import Predictor

    predictor = Predictor("model.onnx")
    [found] = predictor("a.jpg")
    for box, score, label in zip(found.boxes, found.scores, found.labels):
        print(predictor.classes[label], score, box)

Images are decoded, turned, scaled and resampled by the very code that training has.
"""

from boxwright.runtime.predictor import Predictor
from boxwright.runtime.selection import Detections

__all__ = ["Detections", "Predictor"]
