import numpy as np

from keras_ae import pictures


def test_each_image_stands_in_its_place_in_its_colours():
    rows = np.zeros((2, 3, 32, 32, 3), "float32")
    for y, x in np.ndindex(2, 3):
        rows[y, x] = [y, x / 2, 0.2]
    picture = np.asarray(pictures.grid(rows))
    assert picture.shape == (2 * 66 + 12, 3 * 66 + 12, 3)
    for y, x in np.ndindex(2, 3):
        top, left = 6 + 66 * y, 6 + 66 * x
        tile = picture[top : top + 64, left : left + 64]
        assert (tile == np.rint([255 * y, 127.5 * x, 51])).all()
        assert (picture[top + 64 : top + 66, left : left + 64] == 255).all()


def test_labels_and_title_add_room_and_grey_becomes_rgb():
    rows = np.full((1, 2, 28, 28, 1), 0.5, "float32")
    plain, labelled = pictures.grid(rows), pictures.grid(rows, ["trouser"], "epoch 3")
    assert labelled.width > plain.width + 30
    assert labelled.height > plain.height + 10
    assert plain.getpixel((10, 10)) == (128, 128, 128)


def test_originals_stand_above_their_reconstructions():
    originals, decoded = np.ones((10, 8, 8, 3)), np.zeros((10, 8, 8, 3))
    picture = np.asarray(pictures.comparison({"original": originals, "decoded": decoded}).picture())
    column = picture[:, -70 + 30 - 6 - 64, 0]  # through an image of the last column but one
    assert len(picture) == 4 * 66 + 12
    np.testing.assert_array_equal([column[6 + 66 * row + 30] for row in range(4)], [255, 0, 255, 0])
