"""The animation of a page in the README, and what the page takes: its start, and frames a second while a slider moves.

python train/export.py saved_models/vae_shapes.keras --format html --output shapes.html
python benchmarks/quality/explorer.py shapes.html --output docs/guide/explorer.webp

It needs Playwright and Chromium (apt-get install chromium).
"""

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image

SIZE = {"width": 1000, "height": 640}
SHOWN = 0.7  # of the size, in the animation
PAUSE = 130  # milliseconds of a frame
SPEED = """async () => {
    const slider = document.querySelector("#sliders input");
    const count = () => Number(document.body.dataset.shown);
    const first = count(), started = performance.now();
    while (performance.now() - started < 3000) {
        slider.value = 2 * Math.sin(performance.now() / 300);
        slider.dispatchEvent(new Event("input"));
        await new Promise(requestAnimationFrame);
    }
    return (1000 * (count() - first)) / (performance.now() - started);
}"""


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--output", type=Path, metavar="FILE", help="the animation, .webp")
    args = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, offline=True)
        page.goto(args.page.resolve().as_uri())
        page.wait_for_function("document.body.dataset.ready", timeout=120_000)
        print(f"ready after {int(page.evaluate('document.body.dataset.ready')) / 1000:.2f} s")
        print(f"{page.evaluate(SPEED):.0f} frames a second while a slider moves")
        if args.output:
            frames = list(_frames(page))
            frames[0].save(args.output, save_all=True, append_images=frames[1:], duration=PAUSE, loop=0, quality=60)
            print(f"written: {args.output}, {args.output.stat().st_size:,} bytes")
        browser.close()


def _frames(page):
    """What a visitor does: a class, sliders there and back, samples."""
    yield _shot(page)
    for label in (3, 4):
        page.select_option("#label", str(label))
        yield _shot(page)
        for number in (0, 1):
            for value in (-2, -1, 0, 1, 2, 0):
                _slide(page, number, value)
                yield _shot(page)
    for _ in range(3):
        page.click("#sample")
        yield _shot(page)
    for value in (0, 0.25, 0.5, 0.75, 1):
        page.evaluate("value => { between.value = value; between.dispatchEvent(new Event('input')); }", value)
        yield _shot(page)


def _slide(page, number: int, value: float) -> None:
    code = "([number, value]) => { const one = document.querySelectorAll('#sliders input')[number];"
    page.evaluate(code + "one.value = value; one.dispatchEvent(new Event('input')); }", [number, value])


def _shot(page) -> Image.Image:
    page.wait_for_timeout(250)
    image = Image.open(io.BytesIO(page.screenshot()))
    return image.resize([round(SHOWN * side) for side in image.size], Image.LANCZOS)


if __name__ == "__main__":
    main()
