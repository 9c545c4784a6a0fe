import dataclasses
import os
from pathlib import Path

import pytest

from walkforward_cluster.errors import ClusterError
from walkforward_cluster.procs import Daemons, Record, boot_id, children, start_time, wait_until


def test_a_daemon_is_known_by_its_record_and_ends_by_it(tmp_path: Path) -> None:
    daemons = Daemons(tmp_path)
    record = daemons.start("sleeper", ["sleep", "60"])
    assert daemons.alive("sleeper")
    assert daemons.records() == [record]
    daemons.stop("sleeper")
    assert not record.alive()
    assert daemons.records() == []
    daemons.stop("sleeper")  # a second time does nothing


def test_a_forking_prefix_is_seen_through(tmp_path: Path) -> None:
    daemons = Daemons(tmp_path)
    record = daemons.start("inner", ["sleep", "60"], prefix=["sh", "-c", '"$@"; exit 0', "sh"], forks=True)
    assert Path(f"/proc/{record.pid}/comm").read_text().strip() == "sleep"
    daemons.stop("inner", kill=True)


def test_a_stubborn_daemon_is_forced(tmp_path: Path) -> None:
    daemons = Daemons(tmp_path)
    record = daemons.start("stubborn", ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"])
    assert wait_until(lambda: "ready" in daemons.log("stubborn").read_text(), 5)
    daemons.stop("stubborn", grace=0.2)
    assert not record.alive()


def test_a_reused_pid_is_not_ours(tmp_path: Path) -> None:
    me = os.getpid()
    started = start_time(me)
    assert started is not None
    ours = Record("me", me, started, boot_id())
    assert ours.alive()
    later = dataclasses.replace(ours, start_time=started + 1)
    daemons = Daemons(tmp_path)
    daemons.remember(later)
    daemons.stop("me", kill=True)  # would end this test run
    assert not later.alive()
    assert not dataclasses.replace(ours, boot_id="another boot").alive()


def test_what_ends_at_once_says_its_last_words(tmp_path: Path) -> None:
    daemons = Daemons(tmp_path)
    with pytest.raises(ClusterError, match="did not start: no such thing"):
        daemons.start("broken", ["true"], prefix=["sh", "-c", "echo no such thing; exit 3", "sh"], forks=True)


def test_children_and_start_times_of_the_absent() -> None:
    assert start_time(2**22 + 1) is None
    assert children(2**22 + 1) == []
