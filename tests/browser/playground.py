"""The playground as people use it."""

from typing import Any

from playwright.sync_api import Locator, Page, Response, expect


class Playground:
    """An open page that has answered."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        page.goto(url)
        self.settle()

    def settle(self) -> None:
        """Until the answer is that to what is set now."""
        expect(self.page.locator("#answer")).to_have_attribute("aria-busy", "false")

    def model(self, name: str) -> None:
        self.page.get_by_label("Model", exact=True).select_option(name)
        self.settle()

    def example(self, number: int) -> None:
        self.page.get_by_role("button", name=f"Example {number}", exact=True).click()
        self.settle()

    def slide(self, label: str, value: float, number: int = 0) -> None:
        self.page.get_by_label(label, exact=True).nth(number).fill(str(value))
        self.settle()

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()
        self.settle()

    def answers(self) -> list[str]:
        """The labels or values shown: without dropout, with dropout."""
        return self.page.locator("#panels .big .label").all_inner_texts()

    def uncertainty(self) -> float:
        """As it is shown."""
        return float(self.page.locator("#panels .entropy").last.inner_text())

    def shown(self) -> str:
        """All text of the answer, and what its charts tell."""
        reported = self.page.locator("#panels svg[role=img]").evaluate_all("all => all.map(one => one.ariaLabel)")
        return self.page.locator("#panels").inner_text() + "\n".join(reported)

    def reply_to(self, action: Any) -> Any:
        """What the service answers to the last request that an action leads to."""
        replies: list[Response] = []

        def note(response: Response) -> None:
            replies.append(response)

        self.page.on("response", note)
        action()
        self.settle()
        self.page.remove_listener("response", note)
        return replies[-1].json()

    def inked(self, canvas: Locator) -> int:
        """Pixels of a picture that are not paper."""
        count = """canvas => {
            const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true});
            copy.drawImage(canvas, 0, 0);
            const data = copy.getImageData(0, 0, canvas.width, canvas.height).data;
            const paper = getComputedStyle(document.documentElement).getPropertyValue("--paper");
            const red = Number.parseInt(paper, 10);
            return data.filter((value, i) => i % 4 === 0 && value !== red).length;
        }"""
        return int(canvas.evaluate(count))
