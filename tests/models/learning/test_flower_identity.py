import os
import subprocess
import sys

REMEDY = "Flower moved TaskIdentity: adapt models/learning/flower_identity.py, the only place that may name it"


def run(code, **environment):
    """Run in a fresh interpreter: the order of imports is the point."""
    clean = {name: value for name, value in os.environ.items() if name != "FLWR_TELEMETRY_ENABLED"}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        env=clean | environment,
        check=False,
    )


def test_flower_still_lets_us_make_messages():
    """After preparing, a Message can be created and telemetry is off; this fails loudly when Flower moves the name."""
    done = run(
        "from models.learning.flower_identity import prepare_flower\n"
        "prepare_flower(); prepare_flower()\n"
        "import os; assert os.environ['FLWR_TELEMETRY_ENABLED'] == '0'\n"
        "from flwr.app import Message, RecordDict\n"
        "print(Message(RecordDict(), dst_node_id=5, message_type='train').metadata.dst_node_id)"
    )
    assert done.stdout.strip() == "5", f"{REMEDY}\n{done.stderr}"


def test_flower_imported_with_telemetry_on_is_refused():
    """Preparing too late says so instead of letting something phone home."""
    done = run(
        "import sys, types; sys.modules['flwr'] = types.ModuleType('flwr')\n"
        "from models.learning.flower_identity import prepare_flower\n"
        "prepare_flower()"
    )
    assert done.returncode == 1
    assert "FlowerMoved" in done.stderr


def test_ids_of_a_flower_process_are_left_alone():
    """Inside Flower's own processes the ids that it set stay."""
    done = run(
        "import os; os.environ['FLWR_TELEMETRY_ENABLED'] = '0'\n"
        "from flwr.supercore.task_identity import TaskIdentity\n"
        "TaskIdentity.run_id = 77\n"
        "from models.learning.flower_identity import prepare_flower\n"
        "prepare_flower(run_id=1, node_id=9); print(TaskIdentity.run_id, TaskIdentity.node_id)"
    )
    assert done.stdout.split() == ["77", "9"], f"{REMEDY}\n{done.stderr}"
