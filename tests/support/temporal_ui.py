"""The Temporal UI as a person uses it, in a browser that can reach nothing else."""

import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote, urlsplit

from playwright.sync_api import BrowserContext, Response, Route, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

WITHIN_MS = 60_000
SMALL = 10_000
# The one foreign thing that the UI asks for.
NEWS_FEED = "temporal.io"


class TemporalUi:
    """One tab. `foreign` is what the pages asked of other hosts, all of which was refused."""

    def __init__(self, context: BrowserContext, root: str, namespace: str) -> None:
        context.set_default_timeout(WITHIN_MS)
        self._root, self._namespace = root, namespace
        self.foreign: list[str] = []
        context.route("**/*", self._only_ours)
        self.page = context.new_page()

    def open_list(self, query: str = "") -> None:
        """The list of workflows that a query finds."""
        self.page.goto(f"{self._root}/namespaces/{self._namespace}/workflows?query={quote(query)}")
        expect(
            self.page.get_by_role("button", name="Start Workflow", exact=True).or_(
                self.page.get_by_role("link", name="Start Workflow", exact=True)
            )
        ).to_be_visible(timeout=WITHIN_MS)

    def open_run(self, url: str) -> None:
        """The page of a run, by the link in its Operation's status.

        On a busy machine the page gives up early on what it asks the server first, and offers a refresh.
        """
        self.page.goto(url)
        actions = self.page.get_by_role("button", name="More Actions")
        refresh = self.page.get_by_role("button", name="Try a refresh")
        expect(actions.or_(refresh)).to_be_visible(timeout=WITHIN_MS)
        if refresh.is_visible():
            self.page.reload()
        expect(actions).to_be_visible(timeout=WITHIN_MS)

    def open_details(self) -> None:
        """The tab with the summary and the current details."""
        self.page.get_by_test_id("user-metadata-tab").click()

    def summary(self) -> str:
        return self._frame_text("user-metadata-summary")

    def details(self, until: str) -> str:
        """The current details once they contain `until`; asks again as a person does, by R."""
        deadline = time.monotonic() + WITHIN_MS / 1000
        while until not in (text := self._frame_text("user-metadata-current-details")):
            if time.monotonic() > deadline:
                raise AssertionError(f"{until!r} does not appear in the current details:\n{text}")
            self._refresh()
        return text

    def update(self, name: str, payload: str) -> str:
        """Send an Update by the form; why it was refused, or nothing."""
        self._open_form("Send an Update", "update-select-button", name)
        self._fill(payload)
        dialog = self.page.get_by_role("dialog")
        with self.page.expect_response(lambda response: f"/update/{name}" in response.url) as answered:
            dialog.get_by_test_id("confirm-modal-button").click()
        outcome = answered.value.json().get("outcome", {})
        if "failure" in outcome:
            text = dialog.inner_text()
            dialog.get_by_test_id("cancel-modal-button").click()
            expect(dialog).to_be_hidden()
            return f"{text}\n{outcome['failure']['message']}"
        expect(dialog).to_be_hidden(timeout=WITHIN_MS)
        return ""

    def try_update(self, name: str, payload: str) -> str:
        """`update` with what may never leave the form: then what the form says."""
        self._open_form("Send an Update", "update-select-button", name)
        self._fill(payload)
        dialog = self.page.get_by_role("dialog")
        confirm = dialog.get_by_test_id("confirm-modal-button")
        said = ""
        if confirm.is_enabled():
            # What cannot be read as JSON is refused by the form itself, and nothing is sent.
            with suppress(PlaywrightTimeout):
                with self.page.expect_response(_is_update(name), timeout=15_000) as answered:
                    confirm.click()
                said = str(answered.value.json().get("outcome", {}).get("failure", answered.value.json()))
        # A page that formats a megabyte takes its time.
        text = dialog.inner_text() if len(payload) < SMALL else ""
        dialog.get_by_test_id("cancel-modal-button").click()
        expect(dialog).to_be_hidden()
        return f"{said}\n{text}"

    def signal(self, name: str, payload: str) -> None:
        """Send a Signal by the form; its toast says that it was sent, whatever comes of it."""
        self._open_form("Send a Signal", "signal-select-button", name)
        self._fill(payload)
        self.page.get_by_role("dialog").get_by_test_id("confirm-modal-button").click()
        toast = self.page.locator("#workflow-signal-success-toast")
        expect(toast).to_be_visible(timeout=WITHIN_MS)
        # A second Signal while the toast stands crashes the page.
        expect(toast).to_be_hidden(timeout=WITHIN_MS)

    def reset(self, event_id: int, *, alone: bool = False) -> str:
        """Reset by the dialog to one of the events that it offers; the new run's id. `alone`: without what was sent.

        An ended run has a button for it, an open one an entry in the menu.
        """
        button = self.page.get_by_role("button", name="Reset", exact=True)
        if button.count() == 0:
            self.page.get_by_role("button", name="More Actions").click()
            button = self.page.get_by_role("menuitem", name="Reset", exact=True)
        button.first.click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_test_id("workflow-reset-event-id-select-button").click()
        self.page.get_by_role("option", name=f"{event_id} - ", exact=False).first.click()
        if alone:
            dialog.get_by_test_id("reset-exclude-signals-checkbox-label").click()
            dialog.get_by_test_id("reset-exclude-updates-checkbox-label").click()
        dialog.get_by_test_id("reset-reason").fill("a test")
        with self.page.expect_response(lambda response: urlsplit(response.url).path.endswith("/reset")) as answered:
            dialog.get_by_test_id("confirm-modal-button").click()
        return str(answered.value.json()["runId"])

    def start_like(self, workflow_id: str) -> Response:
        """Start Workflow Like This One, under this id; what the server answered."""
        self.page.get_by_role("button", name="More Actions").click()
        self.page.get_by_role("menuitem", name="Start Workflow Like This One").click()
        box = self.page.get_by_role("textbox", name="Workflow ID", exact=True)
        # The form fills itself in once it has read the workflow.
        expect(box).not_to_have_value("", timeout=WITHIN_MS)
        box.fill(workflow_id)
        box.blur()
        with self.page.expect_response(lambda response: response.request.method == "POST") as answered:
            self.page.get_by_role("button", name="Start Workflow", exact=True).click()
        return answered.value

    def request_cancellation(self) -> None:
        """The button beside More Actions, and its confirmation."""
        self.page.get_by_role("button", name="Request Cancellation").first.click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_test_id("confirm-modal-button").click()
        expect(dialog).to_be_hidden(timeout=WITHIN_MS)

    def terminate(self, reason: str) -> None:
        """By the menu, with a reason."""
        self.page.get_by_role("button", name="More Actions").click()
        self.page.get_by_role("menuitem", name="Terminate").click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_role("textbox").first.fill(reason)
        dialog.get_by_test_id("confirm-modal-button").click()
        expect(dialog).to_be_hidden(timeout=WITHIN_MS)

    def _open_form(self, item: str, select: str, name: str) -> None:
        self.page.get_by_role("button", name="More Actions").click()
        self.page.get_by_role("menuitem", name=item).click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_test_id(select).click()
        self.page.get_by_role("option", name=name, exact=False).first.click()

    def _fill(self, payload: str) -> None:
        """Blurred before anything is clicked: the page then formats the JSON and moves its buttons."""
        box = self.page.get_by_role("dialog").get_by_role("textbox", name="Data")
        box.fill(payload)
        box.blur()

    def _refresh(self) -> None:
        """R, and the worker's answer: the details are read by a query."""
        with suppress(PlaywrightTimeout):
            with self.page.expect_response(_is_metadata, timeout=15_000) as answered:
                self.page.locator("body").press("r")
            answered.value.finished()
        self.page.wait_for_timeout(300)

    def _frame_text(self, name: str) -> str:
        return self.page.frame_locator(f"#{name}").locator("body").inner_text()

    def _only_ours(self, route: Route) -> None:
        url = route.request.url
        if url.startswith(self._root) or urlsplit(url).scheme in ("data", "blob", "about"):
            route.continue_()
            return
        self.foreign.append(url)
        route.abort()


def _is_update(name: str) -> Callable[[Response], bool]:
    return lambda response: f"/update/{name}" in response.url


def _is_metadata(response: Response) -> bool:
    return "__temporal_workflow_metadata" in response.url
