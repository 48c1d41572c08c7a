from boxwright.models.size import network_size
from boxwright.recipes import get_recipe


def test_ssd300_has_its_known_size():
    """26.3 million parameters with VOC's 20 classes; VGG16 and the rest take 31.4 billion multiply-adds at 300 px."""
    size = network_size(get_recipe("ssd300", classes=[f"c{n}" for n in range(20)]))
    assert size.parameters == size.learning == 26_285_486
    assert size.anchors == 8732
    assert 31.2e9 < size.multiply_adds < 31.6e9


def test_frozen_parameters_and_classes_of_coco():
    size = network_size(get_recipe("lite320"))
    assert size.classes == 80
    assert size.anchors == 2100
    assert size.learning < size.parameters
    assert network_size(get_recipe("lite320", image_size=640)).multiply_adds > 3.9 * size.multiply_adds
