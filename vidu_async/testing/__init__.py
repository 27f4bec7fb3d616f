"""For testing programs that use Vidu: a simulated service, and a clock that need not be waited for."""

from vidu_async.testing.callbacks import Callbacks, Delivery
from vidu_async.testing.clock import VirtualClockLoop, run_virtual
from vidu_async.testing.faults import Faults
from vidu_async.testing.intercept import CUT, DROP, DROP_AFTER, Reply, Serve
from vidu_async.testing.refusals import Refusal
from vidu_async.testing.simulator import Simulator
from vidu_async.testing.threaded import run_in_thread
from vidu_async.testing.throttle import Throttle

__all__ = [
    "CUT",
    "DROP",
    "DROP_AFTER",
    "Callbacks",
    "Delivery",
    "Faults",
    "Refusal",
    "Reply",
    "Serve",
    "Simulator",
    "Throttle",
    "VirtualClockLoop",
    "run_in_thread",
    "run_virtual",
]
