"""LoggingService: the entries of jobs' logs, over logs as executors write them."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensordeck import errors, protos
from tensordeck.filters import Any_, Comparison, parse_filter
from tensordeck.jobs.job_folder import JobsFolder, Note
from tensordeck.jobs.job_log import LogWriter, Severity
from tensordeck.jobs.kept_logs import KeptLogs
from tensordeck.services.log_entries import LoggingService
from tensordeck.services.log_filters import matcher, period, possible_values
from tests.services.conftest import CALL
from tests.strategies import filters

JOB = "projects/p/locations/us-central1/customJobs/77"
OF_JOB = 'resource.type="ml_job" AND resource.labels.job_id="77"'
START = 1_800_000_000_000_000_000
"""A moment in nanoseconds since 1970, of the logs' first lines."""


class Logs:
    """A data directory with one job's logs, and the service over it."""

    def __init__(self, data_dir: Path) -> None:
        self._folders = JobsFolder(data_dir)
        self._clock = itertools.count(START, 1_000_000_000)
        self._service = LoggingService(lambda: KeptLogs(data_dir))

    def write(self, replica: str, *texts: str, attempt: int = 1, severity=Severity.INFO) -> None:
        """Writes lines, a second apart from each other and from all before."""
        folder = self._folders.attempt("77", attempt)
        if not folder.logs.is_dir():
            folder.path.mkdir(parents=True)
            folder.leave_note(Note(job=JOB, executor="process", handle={}))
        with LogWriter(folder.logs, replica) as writer:
            for text in texts:
                writer.append(text, severity, next(self._clock))

    def __call__(self, condition: str = OF_JOB, **fields):
        """A page."""
        request = protos.message("google.logging.v2.ListLogEntriesRequest")(
            **{"resource_names": ["projects/p"], "filter": condition, **fields}
        )
        return self._service.list_log_entries(request, CALL)

    def pages(self, condition: str = OF_JOB, **fields) -> Iterator[list]:
        """All pages."""
        token = ""
        while True:
            page = self(condition, page_token=token, **fields)
            yield list(page.entries)
            token = page.next_page_token
            if not token:
                return

    def texts(self, condition: str = OF_JOB, **fields) -> list[str]:
        """What all entries say."""
        return [said(entry) for page in self.pages(condition, **fields) for entry in page]


def said(entry) -> str:
    payload = entry.json_payload.fields
    return payload["message"].string_value if payload else entry.text_payload


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


def test_an_entry_says_what_gcloud_and_people_ask_for(logs):
    logs.write("service", "The job is being prepared.")
    logs.write("workerpool0-0", "Traceback", severity=Severity.ERROR)

    service, replica = logs().entries

    assert service.text_payload == "The job is being prepared."
    assert service.log_name == "projects/p/logs/ml.googleapis.com%2F77"
    assert dict(replica.resource.labels) == {
        "job_id": "77",
        "project_id": "p",
        "task_name": "workerpool0-0",
    }
    assert replica.resource.type == "ml_job"
    assert replica.log_name == "projects/p/logs/workerpool0-0"
    assert replica.severity == 500
    assert dict(replica.labels) == {"attempt": "1"}
    assert said(replica) == "Traceback"
    assert replica.timestamp.seconds * 10**9 == START + 10**9


def test_replicas_and_attempts_are_one_log_in_the_order_of_time(logs):
    logs.write("workerpool0-0", "a")
    logs.write("workerpool1-0", "b")
    logs.write("workerpool0-0", "c")
    logs.write("service", "again")
    logs.write("workerpool0-0", "d", attempt=2)

    assert logs.texts() == ["a", "b", "c", "again", "d"]
    assert logs.texts(order_by="timestamp desc") == ["d", "again", "c", "b", "a"]
    assert logs.texts(f"{OF_JOB} AND labels.attempt=2") == ["d"]


@pytest.mark.parametrize("order", ["timestamp asc", "timestamp desc", ""])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        (OF_JOB, lambda n: True),
        (f'{OF_JOB} AND resource.labels.task_name="workerpool1-0"', lambda n: n % 2 == 1),
        (f'{OF_JOB} AND jsonPayload.message:"line 19"', lambda n: n == 19),
        (f"{OF_JOB} AND severity>=ERROR", lambda n: n % 10 == 0),
    ],
)
def test_pages_hold_each_matching_entry_once(logs, order, size, condition, wanted):
    for number in range(20):
        severity = Severity.ERROR if number % 10 == 0 else Severity.INFO
        logs.write(f"workerpool{number % 2}-0", f"line {number}", severity=severity)

    pages = list(logs.pages(condition, page_size=size, order_by=order))

    expected = [f"line {number}" for number in range(20) if wanted(number)]
    if order.endswith("desc"):
        expected.reverse()
    assert [said(entry) for page in pages for entry in page] == expected
    assert all(len(page) <= size for page in pages)


def test_what_is_written_after_a_page_comes_with_its_token_and_nothing_twice(logs):
    logs.write("workerpool0-0", "a", "b", "c")
    first = logs(page_size=2)
    logs.write("workerpool1-0", "d")

    rest = logs(page_size=2, page_token=first.next_page_token)

    assert [said(entry) for entry in [*first.entries, *rest.entries]] == ["a", "b", "c", "d"]


def test_a_long_log_is_read_from_its_end_and_a_rare_line_is_found_in_it(logs):
    logs.write("workerpool0-0", "needle")
    logs.write("workerpool0-0", "\n".join(f"line {number}" for number in range(21_000)))

    assert [said(e) for e in logs(order_by="timestamp desc", page_size=2).entries] == [
        "line 20999",
        "line 20998",
    ]
    needle = f'{OF_JOB} AND jsonPayload.message="needle"'
    assert logs.texts(needle, order_by="timestamp desc") == ["needle"]
    assert logs.texts(needle) == ["needle"]


def test_gcloud_gets_each_line_once_as_it_polls(logs):
    """The queries of gcloud's `stream-logs`: from the last entry on, by time and insert id."""
    logs.write("workerpool0-0", "a\nb", "c")
    logs.write("workerpool1-0", "d\ne\nf")
    seen, position = [], ("1970-01-01T01:00:00.000000000Z", "")
    while True:
        moment, insert_id = position
        lower = (
            f'((timestamp="{moment}" AND insertId>"{insert_id}") OR timestamp>"{moment}")'
            if insert_id
            else f'timestamp>="{moment}"'
        )
        upper = 'timestamp<"2999-01-01T00:00:00.000000Z"'
        page = logs(f"{OF_JOB} AND {lower} AND {upper}", page_size=2, order_by="timestamp asc")
        fresh = [
            entry
            for entry in page.entries
            if (entry.timestamp.ToJsonString(), entry.insert_id) > position
        ]
        if not fresh:
            break
        seen += map(said, fresh)
        position = (fresh[-1].timestamp.ToJsonString(), fresh[-1].insert_id)

    assert seen == ["a", "b", "c", "d", "e", "f"]


def test_times_have_nine_digits_because_gcloud_compares_them_as_texts(logs):
    logs.write("workerpool0-0", "whole second")

    assert len(logs().entries[0].timestamp.ToJsonString()) == len("1970-01-01T01:00:00.000000000Z")


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        (f"{OF_JOB} AND textPayload:*", 1),
        (f"{OF_JOB} AND NOT textPayload:*", 2),
        (f'{OF_JOB} AND textPayload:"PREPARED"', 1),
        (f'{OF_JOB} AND logName="projects/p/logs/workerpool0-0"', 2),
        (f'{OF_JOB} AND logName="projects/p/logs/syslog"', 0),
        (f"{OF_JOB} AND severity=warning", 1),
        (f"{OF_JOB} AND severity!=INFO", 1),
        (f'{OF_JOB} AND resource.labels.project_id!="p"', 0),
        (f'{OF_JOB} AND httpRequest.status="200"', 0),
        ('resource.labels.job_id="77" AND resource.labels.job_id="78"', 0),
        ('resource.labels.job_id="78"', 0),
        ('resource.labels.job_id="../../77"', 0),
        ('resource.type="gce_instance"', 0),
        ('logName="projects/p/logs/syslog"', 0),
    ],
)
def test_filters_choose_and_other_logs_are_empty(logs, condition, count):
    logs.write("service", "The job is being prepared.")
    logs.write("workerpool0-0", "a")
    logs.write("workerpool0-0", "b", severity=Severity.WARNING)

    assert len(logs(condition).entries) == count


def test_a_job_is_seen_from_its_own_project_only(logs):
    logs.write("workerpool0-0", "a")

    assert not logs(resource_names=["projects/q"]).entries
    assert logs(resource_names=["projects/q", "projects/p/locations/l/buckets/b"]).entries


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"filter": ""}, "must name one job"),
        ({"filter": "severity=ERROR"}, "must name one job"),
        ({"filter": 'resource.labels.job_id="1" OR resource.labels.job_id="2"'}, "one job"),
        ({"filter": f"{OF_JOB} AND color=red"}, 'no field "color"'),
        ({"filter": f"{OF_JOB} AND severity=loud"}, "is none of DEFAULT"),
        ({"filter": f"{OF_JOB} AND severity:ERROR"}, "can't be compared with :"),
        ({"filter": f"{OF_JOB} AND timestamp>yesterday"}, "must be a time"),
        ({"filter": f"{OF_JOB} AND"}, "ends too early"),
        ({"filter": f"{OF_JOB} AND sample(insertId)"}, "no function"),
        ({"resource_names": []}, "resource_names"),
        ({"resource_names": ["folders/1"]}, "must be projects"),
        ({"order_by": "severity"}, "order_by"),
        ({"page_size": -1}, "page_size"),
        ({"page_token": "nonsense"}, "page_token"),
    ],
)
def test_bad_requests_are_told_what_is_wrong(logs, fields, word):
    logs.write("workerpool0-0", "a")
    fields = {"condition": fields["filter"]} if "filter" in fields else fields

    with pytest.raises(errors.InvalidArgument, match=word):
        logs(**fields)


def test_a_token_belongs_to_its_query(logs):
    logs.write("workerpool0-0", "a", "b")
    token = logs(page_size=1).next_page_token

    with pytest.raises(errors.InvalidArgument, match="another query"):
        logs(f"{OF_JOB} AND severity=INFO", page_token=token)
    with pytest.raises(errors.InvalidArgument, match="page_token"):
        logs(order_by="timestamp desc", page_token=token)


MOMENTS = [START + number * 10**9 for number in range(5)]
comparisons = st.one_of(
    st.builds(
        lambda op, moment: Comparison(("timestamp",), op, (moment,)),
        st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
        st.sampled_from(
            [datetime.fromtimestamp(m // 10**9, UTC).isoformat() for m in MOMENTS],
        ),
    ),
    st.builds(
        lambda op, job: Comparison(("resource", "labels", "job_id"), op, (job,)),
        st.sampled_from(["=", "!=", ":"]),
        st.sampled_from(["1", "2", "12"]),
    ),
)


@given(filters(comparisons), st.sampled_from(MOMENTS), st.sampled_from(["1", "2", "12"]))
def test_what_a_filter_rules_out_does_not_match(tree, moment, job):
    entry = {("timestamp",): moment, ("resource", "labels", "job_id"): job}
    matches = matcher(tree)(entry)
    within = period(tree)
    jobs = possible_values(tree, ("resource", "labels", "job_id"))

    if matches:
        assert within.since_ns <= moment <= within.until_ns
        assert jobs is None or job in jobs


def test_texts_are_compared_without_regard_to_case():
    assert matcher(parse_filter('textPayload="DONE"'))({("text_payload",): "Done"})
    assert matcher(Any_((parse_filter("textPayload:on"),)))({("text_payload",): "DONE"})
    assert not matcher(parse_filter("textPayload:on"))({})
