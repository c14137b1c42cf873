"""All parts of the gateway in one object."""

from runtime.gateway.approvals import Approvals
from runtime.gateway.files import Files
from runtime.gateway.forks import Forks


class Gateway(Forks, Approvals, Files):
    """`Gateway(journal, catalog, artifacts, runner, settings)`: the product without HTTP.

    Every method takes the tenant from whoever authenticated the caller; what belongs to another tenant does not exist.
    What a method has returned is on disk. Workflows: workflows.py; starts: starts.py; retry and fork: forks.py; reading:
    reads.py; messages to runs: mailbox.py; approvals: approvals.py; artifacts: files.py.
    """
