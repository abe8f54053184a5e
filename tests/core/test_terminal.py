"""What modules log reaches the user of a command as plain lines, and nobody else."""

import logging

from vla_sim.core.cli import guarded

log = logging.getLogger("vla_sim.somewhere.deep")


def talk():
    log.debug("nobody wants to know")
    log.info("100 %% done: %s", "a\x1b[31m")
    log.info("a line with 50 % in it")
    log.warning("careful")
    return 0


def test_information_goes_to_stdout_and_warnings_to_stderr_without_control_codes(capsys):
    assert guarded("vla-sim", talk) == 0
    said = capsys.readouterr()
    assert said.out == "100 % done: a\\x1b[31m\na line with 50 % in it\n"
    assert said.err == "careful\n"


def test_outside_of_commands_the_loggers_are_as_they_were(capsys):
    logger = logging.getLogger("vla_sim")
    before = (logger.level, list(logger.handlers))
    for _ in range(2):
        guarded("vla-sim", talk)
    assert (logger.level, logger.handlers) == before
    assert capsys.readouterr().out.count("done") == 2
