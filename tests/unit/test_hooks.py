"""What failed hooks said: read from lines that a real Velero 1.18 wrote."""

import pytest

from operation_engine.domain.hooks import MAX_FAILURES, hook_failures

FIELDS = 'backup=velero/b hookCommand="[/bin/sh -c x]" hookContainer=db hookName="<from-annotation>" hookOnError=Fail '
FIELDS += 'hookPhase=pre hookSource=annotation hookTimeout="{30s}" hookType=exec logSource="pod_command_executor.go"'


def info(message: str, fields: str = FIELDS) -> str:
    return f'time="2026-11-23T15:14:36Z" level=info msg="{message}" {fields}'


def failed(error: str, phase: str = "pre") -> str:
    where = f"hookPhase={phase} hookSource=annotation hookType=exec"
    return f'time="2026-11-23T15:14:36Z" level=error msg="Error executing hook" backup=velero/b error="{error}" {where}'


EXIT = "command terminated with exit code 1"
LOGS: dict[str, tuple[list[str], str]] = {
    "on stderr": (
        [info("running exec hook"), info("stdout: checking\\n"), info("stderr: FATAL:  no such role\\n"), failed(EXIT)],
        f"pre hook in container db failed: {EXIT}; it printed: FATAL: no such role",
    ),
    "on stdout": (
        [info("running exec hook"), info('stdout: disk \\"a\\" full\\n'), info("stderr: "), failed(EXIT)],
        f'pre hook in container db failed: {EXIT}; it printed: disk "a" full',
    ),
    "in silence": (
        [info("running exec hook"), info("stdout: "), info("stderr: "), failed(EXIT)],
        f"pre hook in container db failed: {EXIT}; it printed nothing",
    ),
    "by timeout": (
        [info("running exec hook"), failed("timed out after 5s")],
        "pre hook in container db failed: timed out after 5s; Velero drops the output of a hook that times out",
    ),
    "before it ran": (
        [failed('no such container: \\"nope\\"', "post")],
        'post hook failed: no such container: "nope"',
    ),
    "in another language": (
        [info("running exec hook"), info("stderr: Grüße \\u20ac \\x1b[0m tab\\there\\n"), failed(EXIT)],
        f"pre hook in container db failed: {EXIT}; it printed: Grüße € [0m tab here",
    ),
}


@pytest.mark.parametrize("how", LOGS)
def test_a_failed_hook_is_told_with_what_it_printed(how: str) -> None:
    lines, sentence = LOGS[how]
    assert [said.replace("  ", " ") for said in hook_failures("\n".join(lines))] == [sentence]


def of(container: str) -> str:
    return FIELDS.replace("hookContainer=db", f"hookContainer={container}")


def told_of_pod(pod: str, error: str = EXIT) -> str:
    return f'time="x" level=error msg="Error running pre hooks for pod" backup=velero/b error="{error}" name={pod}'


def test_the_pod_is_told_where_velero_names_it() -> None:
    lines = [info("running exec hook"), info("stdout: "), info("stderr: no\\n"), failed(EXIT), told_of_pod("db-0")]
    assert hook_failures("\n".join(lines)) == (f"pod db-0: pre hook in container db failed: {EXIT}; it printed: no",)


@pytest.mark.parametrize("named", [["db-0"], ["db-0", "web-0"]])
def test_of_two_alike_failures_no_pod_is_guessed(named: list[str]) -> None:
    one = [info("running exec hook"), info("stdout: "), info("stderr: no\\n"), failed(EXIT)]
    said = hook_failures("\n".join([*one, *one, *map(told_of_pod, named)]))
    assert said == (f"pre hook in container db failed: {EXIT}; it printed: no",) * 2


def test_of_hooks_that_ran_at_once_no_output_is_given_to_the_wrong_one() -> None:
    """Velero works on several pods at once, and the line of a failure names none of them."""
    both = [info("running exec hook", of("db")), info("running exec hook", of("web"))]
    printed = [info(f"{stream}: {c} says\\n", of(c)) for c in ("db", "web") for stream in ("stdout", "stderr")]
    assert hook_failures("\n".join([*both, *printed, failed(EXIT), failed("exit 7")])) == (
        f"pre hook failed: {EXIT}",
        "pre hook failed: exit 7",
    )
    late = [*both, *printed[:2], failed(EXIT), *printed[2:]]
    assert hook_failures("\n".join(late)) == (f"pre hook failed: {EXIT}",)


def test_the_same_container_of_two_pods_is_told_without_output() -> None:
    begun = [info("running exec hook"), info("running exec hook")]
    one = [info("stdout: all well\\n"), info("stderr: ")]
    two = [info("stdout: "), info("stderr: FATAL\\n")]
    said = hook_failures("\n".join([*begun, *one, *two, failed(EXIT)]))
    assert said == (f"pre hook in container db failed: {EXIT}",)


def test_after_hooks_that_ran_at_once_the_next_is_sure_again() -> None:
    begun = [info("running exec hook"), info("running exec hook"), failed("timed out after 5s")]
    rest = [info("stdout: "), info("stderr: "), info("running exec hook", of("web"))]
    alone = [info("stdout: ", of("web")), info("stderr: no room\\n", of("web")), failed(EXIT)]
    assert hook_failures("\n".join([*begun, *rest, *alone])) == (
        "pre hook in container db failed: timed out after 5s; Velero drops the output of a hook that times out",
        f"pre hook in container web failed: {EXIT}; it printed: no room",
    )


def test_a_hook_that_worked_is_not_taken_for_one_whose_container_does_not_exist() -> None:
    worked = [info("running exec hook"), info("stdout: all well\\n"), info("stderr: ")]
    missing = failed('no such container: \\"nope\\"')
    assert hook_failures("\n".join([*worked, missing])) == ('pre hook failed: no such container: "nope"',)


def test_json_lines_are_read_as_well() -> None:
    lines = [
        '{"msg":"running exec hook","hookPhase":"post","hookContainer":"db"}',
        '{"msg":"stderr: no\\nroom\\n","hookPhase":"post","hookContainer":"db"}',
        '{"msg":"Error executing hook","hookPhase":"post","error.message":"exit 1"}',
        '{"msg":"Error executing hook","hookPhase":"post"',
    ]
    assert hook_failures("\n".join(lines)) == ("post hook in container db failed: exit 1; it printed: no room",)


def test_what_a_hook_that_worked_printed_is_not_told() -> None:
    worked = [info("running exec hook"), info("stdout: all well\\n"), info("stderr: ")]
    again = [info("running exec hook"), info("stdout: "), info("stderr: "), failed(EXIT)]
    (said,) = hook_failures("\n".join([*worked, *again]))
    assert said.endswith("it printed nothing")
    assert hook_failures("\n".join(worked)) == ()


def test_of_much_output_the_end_is_told_and_of_many_hooks_the_first() -> None:
    lines = [info("running exec hook"), info("stderr: " + "x" * 5000 + " the cause\\n"), failed(EXIT)] * 9
    said = hook_failures("\n".join(lines))
    assert len(said) == MAX_FAILURES
    assert all(sentence.endswith("the cause") and len(sentence) < 600 for sentence in said)


@pytest.mark.parametrize("log", ["", "hookPhase", "{hookPhase", "hookPhase=pre msg=", '["hookPhase"]'])
def test_a_log_of_another_shape_says_nothing(log: str) -> None:
    assert hook_failures(log) == ()
