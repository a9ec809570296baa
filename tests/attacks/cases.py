# SPDX-License-Identifier: MIT
"""All cases that are played against the attacked server."""

from tests.attacks import (
    cases_batches,
    cases_bytes,
    cases_contents,
    cases_costs,
    cases_crowds,
    cases_datagrams,
    cases_ends,
    cases_envelopes,
    cases_foreign,
    cases_framings,
    cases_handlers,
    cases_json,
    cases_load,
    cases_packets,
    cases_secrets,
    cases_tls,
    cases_waits,
    cases_websocket,
)

CASES = [
    *cases_bytes.CASES,
    *cases_costs.CASES,
    *cases_framings.CASES,
    *cases_json.CASES,
    *cases_envelopes.CASES,
    *cases_batches.CASES,
    *cases_handlers.CASES,
    *cases_load.CASES,
    *cases_foreign.CASES,
    *cases_waits.CASES,
    *cases_crowds.CASES,
    *cases_tls.CASES,
    *cases_ends.CASES,
    *cases_secrets.CASES,
    *cases_websocket.CASES,
    *cases_packets.CASES,
    *cases_contents.CASES,
    *cases_datagrams.CASES,
]
