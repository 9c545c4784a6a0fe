"""Nothing is lost and nothing counted twice: merging, banking, folding, crashes."""

from __future__ import annotations

import base64
import gzip
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import structs

from walkforward_core.errors import DocumentError
from walkforward_core.evidence import Bank, Evidence, EvidenceFull, Totals, source_of
from walkforward_core.evidence import bank as bank_module
from walkforward_core.evidence import totals as totals_module
from walkforward_core.evidence.rows import merge_rows, total
from walkforward_core.pods import ModelRole
from walkforward_core.stats import Bars, Errors, FeatureCounts, Latency, Outcomes, Pair, Positions, Requests, Row, StatsDocument

FROM = 14
BASE = 3_600_000


def bitmap(bits: set[int]) -> str:
    return base64.b64encode(sum(1 << bit for bit in bits).to_bytes(256, "big")).decode()


def distinct_keys(bits: str) -> int:
    return int.from_bytes(base64.b64decode(bits), "big").bit_count()


def row(generation: int, role: ModelRole, amount: int, symbols: tuple[str, ...] = ("EURUSD",)) -> Row:
    """A row in which every field depends on ``amount``, with floats whose sums are exact."""
    return Row(
        generation=generation,
        version=role.value,
        role=role,
        requests=Requests(exposed=amount, shadow=2 * amount, unkeyed=1, fallback=amount % 3, shadow_skipped=amount % 2),
        errors=Errors(exception=amount % 5, non_finite=amount % 7),
        bars=Bars(distinct=amount, undated=1, symbols=symbols, first_ts=1_000 - amount % 100, newest_ts=1_000 + amount),
        keys=bitmap({amount % 2048}),
        features=FeatureCounts(
            edges_digest="sha256:0",
            counts=((amount,) * 10, tuple(range(10))),
            missing=(1, amount),
            beyond=(0, amount % 4),
            min=(float(-amount) if amount % 2 else None, None),  # of some pods every value was NaN
            max=(float(amount) if amount % 2 else None, None),
        ),
        score=tuple(range(amount, amount + 10)),
        classes=(amount, 1),
        latency=Latency(le=(25.0, 80.0), counts=(amount, 1, 0), limit_ms=80.0, n=amount + 1, k=amount % 3, k2n=amount / 4, slices=2),
    )


def snapshot(pod: str, boot: str, seq: int, amounts: dict[int, int]) -> StatsDocument:
    """What a pod answers at ``seq`` after counting ``amounts[generation]``."""
    rows = [row(generation, role, amount) for generation, amount in amounts.items() for role in (ModelRole.STABLE, ModelRole.CANDIDATE)]
    pairs = [
        Pair(
            generation=generation,
            stable="stable",
            candidate="candidate",
            n=amount,
            agree=amount // 2,
            sum_abs_delta=amount / 8,
            only_candidate_failed=amount % 2,
            only_stable_failed=amount % 3,
            positions=Positions(n=amount, sum_s=amount / 2, sum_c=1.0, sum_s2=2.0, sum_c2=3.0, sum_sc=4.0),
        )
        for generation, amount in amounts.items()
    ]
    total_amount = sum(amounts.values())
    batches = {str(key): (1.0, total_amount / 16, 0.5, 0.25, 0.125, 1.0) for key in range(total_amount % 40 + 1)}
    outcomes = [
        Outcomes(plan=plan, stable="stable", candidate="candidate", base_ms=BASE, rows=batches, newest=total_amount, matured=len(batches))
        for plan in ("plan", "another")
    ]
    return StatsDocument(pod_uid=pod, boot=boot, seq=seq, rows=tuple(rows), pairs=tuple(pairs), outcomes=tuple(outcomes))


def empty() -> Bank:
    return Bank.empty("uid", "plan", FROM)


def reload(bank: Bank, **other: Any) -> Bank:
    stored = {number: shard.to_gzip() for number, shard in enumerate(bank.shards)}
    return Bank.load(stored, **{"rollout_uid": "uid", "plan": "plan", "evidence_from": FROM, **other})


def view(bank: Bank, first: int = FROM, last: int = 10_000) -> Evidence:
    return Evidence.of(bank, stable="stable", candidate="candidate", first=first, last=last)


amounts = st.dictionaries(st.integers(FROM, FROM + 4), st.integers(0, 50), min_size=1, max_size=4)
polls = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers(1, 5)), min_size=1, max_size=12)


@given(polls, amounts, st.randoms(use_true_random=False))
def test_polls_in_any_order_and_any_number_give_the_same_evidence(made: list, counts: dict[int, int], order: random.Random) -> None:
    documents = [snapshot(pod, boot, seq, {generation: amount * seq for generation, amount in counts.items()}) for pod, boot, seq in made]
    once = empty()
    for document in documents:
        once = once.absorb(document, phase_from=FROM)
    again = documents * 2
    order.shuffle(again)
    shuffled = empty()
    for document in again:
        shuffled = shuffled.absorb(document, phase_from=FROM)
        if order.random() < 0.2:
            shuffled = reload(shuffled)
    assert view(shuffled) == view(once)


@given(st.lists(amounts, min_size=1, max_size=6), st.integers(FROM, FROM + 5))
def test_evidence_is_the_plain_sum_over_sources(sources: list[dict[int, int]], first: int) -> None:
    bank = empty()
    for number, counts in enumerate(sources):
        bank = bank.absorb(snapshot(f"pod{number}", "boot", 1, counts), phase_from=first)
    evidence = view(bank, first, FROM + 3)
    for scope, kept in ((evidence.walk, lambda _: True), (evidence.phase, lambda generation: first <= generation <= FROM + 3)):
        flat = [amount for counts in sources for generation, amount in counts.items() if kept(generation)]
        candidate, pair = scope.candidate, scope.pair
        assert candidate.requests.exposed == sum(flat)
        assert candidate.errors.exception == sum(amount % 5 for amount in flat)
        assert candidate.bars.distinct == sum(flat)
        assert candidate.bars.newest_ts == max((1_000 + amount for amount in flat), default=0)
        assert candidate.bars.first_ts == min((1_000 - amount % 100 for amount in flat), default=0)
        assert distinct_keys(candidate.keys) == len({amount % 2048 for amount in flat})
        assert candidate.latency.n == sum(amount + 1 for amount in flat)
        assert (candidate.latency.k, candidate.latency.slices) == (sum(amount % 3 for amount in flat), 2 * len(flat))
        assert candidate.latency.k2n == sum(amount / 4 for amount in flat)
        assert (pair.n, pair.positions.sum_s) == (sum(flat), sum(amount / 2 for amount in flat))
        assert (pair.only_candidate_failed, pair.only_stable_failed) == (sum(a % 2 for a in flat), sum(a % 3 for a in flat))
        if scope is evidence.phase:
            assert (candidate.features.counts, candidate.score) == ((), ())
        elif flat:
            assert candidate.features.counts[0] == (sum(flat),) * 10
            seen = [float(amount) for amount in flat if amount % 2]
            assert candidate.features.min == (-max(seen) if seen else None, None)
            assert candidate.features.max == (max(seen) if seen else None, None)
            assert candidate.score == tuple(sum(amount + place for amount in flat) for place in range(10))
    assert evidence.outcomes is not None
    assert evidence.outcomes.matured == sum(sum(counts.values()) % 40 + 1 for counts in sources)
    assert evidence.outcomes.plan == "plan"


class Banking(RuleBasedStateMachine):
    """Pods count, restart and vanish; the operator polls, banks shard by shard, dies between any two writes and comes back.

    Truth: the last poll that was banked of every source, or the last poll at all while the operator lives. Evidence equals their sum.
    """

    @initialize()
    def start(self) -> None:
        self.shard_size = bank_module.OPEN_PER_SHARD
        bank_module.OPEN_PER_SHARD = 2  # so that three sources need two ConfigMaps
        self.phase = FROM
        self.live: dict[str, tuple[int, dict[int, int]]] = {}
        self.names = 0
        self.bank = self.banked = empty()
        self.config_maps: dict[int, bytes] = {}
        self.known: dict[str, dict[int, int]] = {}
        self.saved: dict[str, dict[int, int]] = {}

    def teardown(self) -> None:
        bank_module.OPEN_PER_SHARD = getattr(self, "shard_size", bank_module.OPEN_PER_SHARD)

    @rule(amount=st.integers(1, 30))
    def a_pod_starts(self, amount: int) -> None:
        if len(self.live) < 5:
            self.names += 1
            self.live[source_of(f"pod{self.names}", "boot")] = (1, {self.phase: amount})

    @rule(pick=st.integers(0, 9), amount=st.integers(1, 30))
    def it_counts(self, pick: int, amount: int) -> None:
        if self.live:
            source = sorted(self.live)[pick % len(self.live)]
            seq, counts = self.live[source]
            self.live[source] = (seq + 1, {**counts, self.phase: counts.get(self.phase, 0) + amount})

    @rule()
    def the_operator_polls(self) -> None:
        for source, (seq, counts) in self.live.items():
            pod, _, boot = source.partition("/")
            self.bank = self.bank.absorb(snapshot(pod, boot, seq, counts), phase_from=self.phase)
            self.known[source] = counts

    @rule(pick=st.integers(0, 9))
    def a_pod_vanishes(self, pick: int) -> None:
        if self.live:
            del self.live[sorted(self.live)[pick % len(self.live)]]

    @rule()
    def the_operator_folds(self) -> None:
        self.bank = self.bank.close(self.bank.vanished(set(self.live)), phase_from=self.phase)

    @rule(pick=st.integers(0, 9))
    def a_late_answer_of_a_folded_pod_arrives(self, pick: int) -> None:
        closed = sorted(source for shard in self.bank.shards for source in shard.closed.sources)
        if closed:
            pod, _, boot = closed[pick % len(closed)].partition("/")
            assert self.bank.absorb(snapshot(pod, boot, 10_000, {self.phase: 999}), phase_from=self.phase) is self.bank

    @rule(writes=st.integers(0, 3))
    def the_operator_banks_and_may_die_between_writes(self, writes: int) -> None:
        changed = self.bank.changed(self.banked)
        for number in changed[:writes] if writes < 3 else changed:
            self.config_maps[number] = self.bank.shards[number].to_gzip()
            for source in (*self.bank.shards[number].open, *self.bank.shards[number].closed.sources):
                self.saved[source] = self.known[source]
        if writes < 3:
            self.bank = Bank.load(self.config_maps, rollout_uid="uid", plan="plan", evidence_from=FROM)
            self.known = dict(self.saved)
        self.banked = self.bank

    @rule()
    def a_phase_begins(self) -> None:
        self.phase = min(self.phase + 1, FROM + 3)

    @invariant()
    def evidence_is_what_was_known(self) -> None:
        if not hasattr(self, "bank"):
            return
        evidence = view(self.bank, self.phase)
        flat = [amount for counts in self.known.values() for amount in counts.values()]
        assert evidence.walk.candidate.requests.exposed == sum(flat)
        assert evidence.walk.pair.n == sum(flat)
        in_phase = [counts.get(self.phase, 0) for counts in self.known.values()]
        assert evidence.phase.candidate.requests.exposed == sum(in_phase)
        matured = evidence.outcomes.matured if evidence.outcomes else 0
        assert matured == sum(sum(counts.values()) % 40 + 1 for counts in self.known.values())
        assert evidence.sources == len(self.known)


Banking.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
TestBanking = Banking.TestCase


def test_an_older_snapshot_never_replaces_a_newer_one_also_after_a_restart() -> None:
    bank = empty().absorb(snapshot("a", "x", 5, {FROM: 50}), phase_from=FROM)
    for older in (snapshot("a", "x", 4, {FROM: 40}), snapshot("a", "x", 5, {FROM: 50})):
        assert bank.absorb(older, phase_from=FROM) is bank
        assert view(reload(bank).absorb(older, phase_from=FROM)) == view(bank)
    # a restarted container counts from the start, beside what the old process had counted
    both = bank.absorb(snapshot("a", "y", 1, {FROM: 7}), phase_from=FROM)
    assert view(both).walk.pair.n == 57


def test_what_belongs_to_an_earlier_walk_or_another_plan_does_not_count() -> None:
    document = snapshot("a", "x", 1, {0: 100, FROM - 1: 10, FROM: 1})
    evidence = view(empty().absorb(document, phase_from=FROM))
    assert evidence.walk.candidate.requests.exposed == 1
    assert evidence.walk.pair.n == 1
    bank = empty().absorb(document, phase_from=FROM)
    assert view(bank).outcomes is not None
    for stable, candidate in (("stable", "someone"), ("someone", "candidate")):
        other = Evidence.of(bank, stable=stable, candidate=candidate, first=FROM, last=FROM)
        assert (other.walk.pair.n, other.outcomes) == (0, None)
    assert Evidence.of(bank, stable="stable", candidate="someone", first=FROM, last=FROM).walk.candidate.requests.exposed == 0
    # nor what either model counted in the other's place
    swapped = Evidence.of(bank, stable="candidate", candidate="stable", first=FROM, last=FROM).walk
    assert (swapped.stable.requests.exposed, swapped.candidate.requests.exposed) == (0, 0)
    # whose generation 0 was, which a server has folded, is never known
    folded = view(Bank.empty("uid", "plan", 0).absorb(document, phase_from=FROM), first=0)
    assert (folded.walk.candidate.requests.exposed, folded.walk.pair.n) == (11, 11)


def test_generations_before_the_phase_are_one_row() -> None:
    bank = empty()
    for phase in (FROM, FROM + 2):
        bank = bank.absorb(snapshot("a", "x", phase, {FROM: 1, FROM + 1: 2, FROM + 2: 4}), phase_from=phase)
    snapshot_rows = next(iter(bank.shards[0].open.values())).rows
    assert sorted({r.generation for r in snapshot_rows}) == [0, FROM + 2]
    assert view(bank, FROM + 2).phase.pair.n == 4
    assert view(bank, FROM + 2).walk.pair.n == 7
    closed = bank.close(bank.open_sources, phase_from=FROM + 3)
    assert {r.generation for r in closed.shards[0].closed.rows} == {0}
    assert view(closed, FROM + 3).walk == view(bank, FROM + 2).walk


def test_shards_hold_32_open_sources_each_and_write_only_what_changed() -> None:
    bank = empty()
    for number in range(70):
        bank = bank.absorb(snapshot(f"pod{number:02}", "x", 1, {FROM: 1}), phase_from=FROM)
    assert [len(shard.open) for shard in bank.shards] == [32, 32, 6]
    newer = bank.absorb(snapshot("pod40", "x", 2, {FROM: 2}), phase_from=FROM)
    assert newer.changed(bank) == (1,)
    assert bank.changed(bank) == ()
    assert bank.changed(empty()) == (0, 1, 2)
    closed = newer.close(["pod40/x", "pod69/x", "nobody/x"], phase_from=FROM)
    assert closed.changed(newer) == (1, 2)
    assert closed.close(["pod40/x"], phase_from=FROM) is closed
    assert view(closed).walk.pair.n == view(newer).walk.pair.n == 71
    # a late answer of a folded source counts nowhere, though another shard has room for it
    for late in ("pod40", "pod69"):
        assert closed.absorb(snapshot(late, "x", 3, {FROM: 3}), phase_from=FROM) is closed
    # the room is given to the next pod
    assert len(closed.absorb(snapshot("new", "x", 1, {FROM: 1}), phase_from=FROM).shards) == 3


def test_banked_bytes_are_gzip_and_the_same_for_the_same_totals() -> None:
    one = empty().absorb(snapshot("a", "x", 1, {FROM: 3}), phase_from=FROM).absorb(snapshot("b", "x", 1, {FROM: 3}), phase_from=FROM)
    two = empty().absorb(snapshot("b", "x", 1, {FROM: 3}), phase_from=FROM).absorb(snapshot("a", "x", 1, {FROM: 3}), phase_from=FROM)
    assert one.shards[0].to_gzip() == two.shards[0].to_gzip()
    text = gzip.decompress(one.shards[0].to_gzip())
    assert text.startswith(b'{"schema":"walkforward.dev/evidence/v1","rolloutUid":"uid","plan":"plan","evidenceFrom":14,"closed":{')
    assert Totals.from_gzip(one.shards[0].to_gzip(), source="cm") == one.shards[0]


@pytest.mark.parametrize("other", [{"rollout_uid": "x"}, {"plan": "x"}, {"evidence_from": FROM + 1}])
def test_shards_of_another_walk_are_not_taken_over(other: dict[str, Any]) -> None:
    bank = empty().absorb(snapshot("a", "x", 1, {FROM: 3}), phase_from=FROM)
    assert reload(bank) == bank
    assert view(reload(bank, **other)).walk.pair.n == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no gzip",
        gzip.compress(b"{}")[:-9],
        empty().shards[0].to_gzip()[:-1],
        gzip.compress(b"{}"),
        gzip.compress(b'{"schema":"walkforward.dev/stats/v1"}'),
    ],
    ids=[
        "empty",
        "no gzip",
        "cut short",
        "without its whole checksum",
        "no document",
        "another document",
    ],  # gzip writes the time, a name must not
)
def test_unreadable_shards_are_an_error_that_names_them(data: bytes) -> None:
    with pytest.raises(DocumentError, match="shard 3 of rollout uid"):
        Bank.load({3: data}, rollout_uid="uid", plan="plan", evidence_from=FROM)


def test_evidence_that_no_longer_fits_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    totals = empty().absorb(snapshot("a", "x", 1, {FROM: 3}), phase_from=FROM).shards[0]
    monkeypatch.setattr(totals_module, "LIMIT", len(totals.to_gzip()))
    totals.to_gzip()
    monkeypatch.setattr(totals_module, "LIMIT", len(totals.to_gzip()) - 1)
    with pytest.raises(EvidenceFull, match="1 open and 0 closed"):
        totals.to_gzip()


def test_thirty_two_large_pods_fit_into_one_config_map() -> None:
    rng = random.Random(1)
    bank = empty()
    for number in range(32):
        rows = [large_row(rng, generation, role) for generation in (FROM, FROM + 1) for role in (ModelRole.STABLE, ModelRole.CANDIDATE)]
        document = StatsDocument(pod_uid=f"{number:036}", boot=f"{number:036}", seq=1, rows=tuple(rows))
        bank = bank.absorb(document, phase_from=FROM + 1)
    assert len(bank.shards) == 1
    assert len(bank.shards[0].to_gzip()) < totals_module.LIMIT


def large_row(rng: random.Random, generation: int, role: ModelRole) -> Row:
    """40 features and 58 latency buckets of incompressible counts."""

    def counts(size: int) -> tuple[int, ...]:
        return tuple(rng.randrange(100_000) for _ in range(size))

    features = FeatureCounts(
        edges_digest="sha256:" + "0" * 64,
        counts=tuple(counts(10) for _ in range(40)),
        missing=counts(40),
        beyond=counts(40),
        min=tuple(rng.random() for _ in range(40)),
        max=tuple(rng.random() for _ in range(40)),
    )
    latency = Latency(le=tuple(25 * 1.25**step for step in range(58)), counts=counts(59), limit_ms=80.0, n=10**6, k=10**4, k2n=rng.random())
    keys = base64.b64encode(rng.randbytes(256)).decode()
    return Row(generation=generation, version=role.value, role=role, keys=keys, features=features, score=counts(10), latency=latency)


def test_rows_over_other_bins_keep_apart_and_their_sum_is_refused() -> None:
    one = row(FROM, ModelRole.CANDIDATE, 5)
    other = structs.replace(one, features=structs.replace(one.features, edges_digest="sha256:1"))
    slower = structs.replace(one, latency=structs.replace(one.latency, limit_ms=90.0))
    assert len(merge_rows([one, other, slower, one])) == 3
    for foreign in (other, slower):
        with pytest.raises(ValueError, match="different bins or latency limits"):
            total([one, foreign])
    bank = empty()
    for pod, candidate in (("a", one), ("b", other)):
        bank = bank.absorb(StatsDocument(pod_uid=pod, boot="x", seq=1, rows=(candidate,)), phase_from=FROM)
    assert "different bins" in view(bank).walk.conflict
    assert view(reload(bank)) == view(bank)


def test_a_pod_that_has_counted_nothing_yet_conflicts_with_nobody() -> None:
    full, blank = row(FROM, ModelRole.CANDIDATE, 5), Row(generation=FROM + 1, version="candidate", role=ModelRole.CANDIDATE)
    summed = total([blank, full])
    assert summed is not None
    assert summed == structs.replace(full, generation=0)
    assert total([]) is None


def test_bitmaps_that_cannot_be_read_set_no_key() -> None:
    full = row(FROM, ModelRole.CANDIDATE, 5)
    for unreadable in ("", "!", "AAAA"):
        summed = total([full, structs.replace(full, keys=unreadable)])
        assert summed is not None
        assert distinct_keys(summed.keys) == 1


def test_evidence_of_nothing_is_empty() -> None:
    evidence = view(empty())
    assert (evidence.newest_ts, evidence.symbols, evidence.distinct_bars(BASE), evidence.sources) == (0, 1, 0, 0)
    assert evidence.outcomes is None
    assert evidence.walk.conflict == evidence.conflict == ""


def test_w_is_the_smaller_of_both_arms() -> None:
    hour = 3_600_000
    rows = [
        structs.replace(row(FROM, role, 5), bars=Bars(distinct=distinct, symbols=("A", "B"), first_ts=hour, newest_ts=hour * 10))
        for role, distinct in ((ModelRole.STABLE, 50), (ModelRole.CANDIDATE, 12))
    ]
    bank = empty().absorb(StatsDocument(pod_uid="a", boot="x", seq=1, rows=tuple(rows)), phase_from=FROM)
    assert view(bank).distinct_bars(hour) == 12
    bank = bank.absorb(StatsDocument(pod_uid="b", boot="x", seq=1, rows=tuple(rows)), phase_from=FROM)
    assert view(bank).distinct_bars(hour) == 20  # ten bars of two symbols, whatever the pods' sum says
    assert view(bank).symbols == 2


def test_the_newest_market_time_is_that_of_either_arm() -> None:
    for stable, candidate in ((7, 9), (9, 7), (0, 9), (9, 0)):
        rows = [
            structs.replace(row(FROM, role, 5), bars=Bars(distinct=1, first_ts=min(1, newest), newest_ts=newest))
            for role, newest in ((ModelRole.STABLE, stable), (ModelRole.CANDIDATE, candidate))
        ]
        assert view(empty().absorb(StatsDocument(pod_uid="a", boot="x", seq=1, rows=tuple(rows)), phase_from=FROM)).newest_ts == 9
