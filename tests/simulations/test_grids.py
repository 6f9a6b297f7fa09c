"""Flower strategies over in-process ClientApps: FedAvg on plain apps, the private sum on this agent's own app."""

import os

import numpy as np
import pytest
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg

from aggregator.leader.strategy import PrivateSum
from client_agent.clocks import SystemClock
from client_agent.consenting import ConsentKeeper
from client_agent.enrolment import Pins
from client_agent.federation.app import compute_answer
from client_agent.federation.federation import Federation
from client_agent.keys import FileKeyring
from client_agent.store import ParticipantRecord, open_store
from models.learning.steps import first_parameters
from models.wire.enrolment import device_id
from models.wire.studies import LocalStudyPlan, TransitionsQuery
from privacy.accounting import Contract
from privacy.crypto import SigningKey
from privacy.mechanisms import RandomStream, discrete_gaussian
from privacy.secure_sum import decode, encode, unpack
from simulations.cohort import PrivateCohort, RoundBoard
from simulations.demo.plans import Draft, Parties, intent
from simulations.fleet.data import ShopData
from simulations.grids import InProcessGrid, app_node
from simulations.populations import CATEGORIES, SITE, ShopPopulation

PEOPLE, REFUSERS = 10, 2
CONTRACT = Contract(epsilon=40.0, delta=1e-5, order=4)
PAGES = Draft(
    study_id="pages",
    title="Pages",
    summary="Which page follows which.",
    purpose="measurement",
    query=TransitionsQuery(categories=CATEGORIES),
    rounds=2,
    sampling_rate=1.0,
    noise_multiplier=2.0,
    window_seconds=600.0,
    epsilon_cap=40.0,
    minimum_cohort=4,
)


def training(local_noise: float = 0.0) -> Draft:
    """The demo's training study over few devices; everybody takes part."""
    draft = intent(rounds=2)
    local = LocalStudyPlan.model_validate({**draft.query.local.model_dump(), "noise_multiplier": local_noise})
    query = draft.query.model_copy(update={"local": local})
    changes = {"query": query, "sampling_rate": 1.0, "epsilon_cap": 40.0, "minimum_cohort": 4, "window_seconds": 600.0}
    return Draft(**{**vars(draft), **changes})


class Cohort:
    """Ten people who grant everything and two who refuse, behind one agent, and their private cohort."""

    def __init__(self, folder, draft: Draft) -> None:
        leader, helper, officer = keys = [SigningKey.generate() for _ in range(3)]
        clock, self.streams = SystemClock(), (bytes([1]) * 32, bytes([2]) * 32)
        self.study = draft.build(Parties(leader.verify_key.raw.hex(), helper.verify_key.raw.hex(), clock.now_ms()))
        self.store, board = open_store(folder, FileKeyring(folder)), RoundBoard()
        pins = Pins(leader.verify_key, helper.verify_key, (officer.verify_key,), SITE)
        self.data = {f"{device.index:016x}": ShopData(device) for device in ShopPopulation(PEOPLE + REFUSERS, 7)}
        with self.store.transaction():
            self.store.participants.add(_record(name, leader) for name in self.data)
        grants = dict.fromkeys(list(self.data)[:PEOPLE], (self.study.purpose,))
        ConsentKeeper(self.store, pins, clock).grant_many(grants)
        self.federation = Federation(self.store, board, None, pins, clock, os.urandom, CONTRACT)
        noises = [RandomStream(stream) for stream in self.streams]
        self.node = PrivateCohort(
            self.study, *keys, self.federation, board, self.data.__getitem__, clock.now_ms, *noises
        )
        assert self.node.pins == pins

    def run(self) -> PrivateSum:
        """All rounds of the study by Flower's own loop."""
        strategy = PrivateSum(self.study)
        strategy.start(InProcessGrid({1: self.node}), strategy.initial_arrays(), num_rounds=self.study.rounds)
        return strategy

    def noise(self, rounds: int) -> np.ndarray:
        """Both servers' noise of the first rounds, summed, on the grid."""
        params = self.study.plan.parameters()
        streams = [RandomStream(stream) for stream in self.streams]
        draws = [discrete_gaussian(params.noise_sigma, params.dimension, s) for _ in range(rounds) for s in streams]
        return np.sum(draws, axis=0)


def _record(name: str, leader: SigningKey) -> ParticipantRecord:
    """Somebody whom the leader knows, as after an enrolment."""
    seed = os.urandom(32)
    known_as = device_id(leader.verify_key, SigningKey(seed).verify_key)
    return ParticipantRecord(name, f"person {name}", SITE, leader.verify_key.raw, seed, known_as)


@pytest.fixture
def cohort(tmp_path, request):
    built = Cohort(tmp_path, request.param)
    yield built
    built.store.close()


@pytest.mark.parametrize("cohort", [PAGES], indirect=True)
def test_the_strategy_sees_exactly_the_consenting_devices_sum_and_both_noises(cohort):
    """Two rounds over the grid publish twice the encoded counts of the ten, plus what the two servers drew."""
    strategy = cohort.run()
    params = cohort.study.plan.parameters()
    found = cohort.federation.open_rounds()[0]
    grid = sum(
        encode(compute_answer(found, cohort.data[member.participant_id]), params)
        for member in cohort.federation.participants(found)
    )
    expected = decode(2 * grid + cohort.noise(2), params)
    assert strategy.released == 2
    assert strategy.final_model() == pytest.approx(expected, rel=1e-5, abs=1e-4)
    assert len(cohort.node.reports) == PEOPLE


@pytest.mark.parametrize("cohort", [PAGES], indirect=True)
def test_no_single_report_tells_its_vector(cohort):
    """What the leader's side holds is masked: no report is its device's encoded vector, and masks differ by round."""
    cohort.run()
    params = cohort.study.plan.parameters()
    found = cohort.federation.open_rounds()[0]
    plain = {
        tuple(encode(compute_answer(found, data), params) % 2**params.modulus_bits) for data in cohort.data.values()
    }
    masked = [tuple(unpack(report.masked, params.dimension, params.modulus_bits)) for report in cohort.node.reports]
    assert len(set(masked)) == PEOPLE
    assert plain.isdisjoint(masked)


@pytest.mark.parametrize("cohort", [PAGES], indirect=True)
def test_each_round_is_charged_once_to_those_who_took_part(cohort):
    """Ten ledgers hold one row a round; who refused has none."""
    cohort.run()
    lengths = sorted(member.budget.contract.length for member in cohort.federation.roster)
    assert lengths == [0] * REFUSERS + [2] * PEOPLE


@pytest.mark.parametrize("cohort", [training()], indirect=True)
def test_a_training_study_moves_the_model(cohort):
    """Opacus on every device, masked updates, one FedAvg step a round: the model that comes out is another one."""
    strategy = cohort.run()
    start, final = first_parameters(cohort.study.query), strategy.final_model()
    assert strategy.released == 2
    assert final.shape == start.shape
    assert np.isfinite(final).all()
    assert np.abs(final - start).max() > 0


def test_flowers_own_fedavg_runs_over_in_process_apps():
    """Three plain ClientApps that each hold a number: FedAvg's weighted mean of them is the model."""
    held = {1: (1.0, 1), 2: (2.0, 1), 3: (6.0, 2)}

    def build(value: float, examples: int) -> ClientApp:
        app = ClientApp()

        @app.train()
        def train(message: Message, _: Context) -> Message:
            arrays = ArrayRecord([np.full(2, value)])
            metrics = MetricRecord({"num-examples": examples})
            return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

        return app

    nodes = {node: app_node(build(*answer), Context(1, node, {}, RecordDict(), {})) for node, answer in held.items()}
    strategy = FedAvg(fraction_evaluate=0.0, min_available_nodes=3)
    result = strategy.start(InProcessGrid(nodes), ArrayRecord([np.zeros(2)]), num_rounds=2)
    assert result.arrays.to_numpy_ndarrays()[0] == pytest.approx([3.75, 3.75])
