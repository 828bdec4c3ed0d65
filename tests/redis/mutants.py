"""What is taken out of the scripts, and of the waker, and the check of each that must notice."""

from __future__ import annotations

from collections.abc import Callable

from goflow.testing.store import Store, Worker
from tests.redis import bells, course, heard, left, test_faults, zombies
from tests.redis.hooks import open_store, redis_of, shared_server, teach
from tests.redis.mutant import Mutant
from tests.redis.mutants_in_pieces import MUTANTS_IN_PIECES
from tests.redis.proxy import Proxy

_ENTRY_ALONE = "string.match({}, '^[%d-]*')"


def cut(check: Callable[..., None]) -> Callable[[Store], None]:
    """A check of the faults, with its answer lost."""

    def run(store: Store) -> None:
        proxy = Proxy(shared_server().socket)
        backend = open_store(proxy.url, redis_of(store).keys.namespace)
        backend.link._scripts = redis_of(store).link._scripts
        teach(backend, shared_server())
        try:
            check(proxy, backend, Worker(backend), "after")
        finally:
            backend.close()
            proxy.close()

    return run


MUTANTS = [
    Mutant(
        "a run stays listed under the state it had",
        "_records",
        "    if state ~= run.listed then\n",
        "    if false then\n",
        ("test_a_run_is_listed_under_the_state_it_is_in",),
    ),
    Mutant(
        "a forgotten run stays in its list",
        "forget",
        "call('ZREM', list_key(run.flow), id)",
        "",
        (left.a_forgotten_run_is_listed_no_more,),
    ),
    Mutant(
        "a context value that is written over is forgotten",
        "commit",
        "    if last > 0 or old ~= '' then set_data(run, 'w:' .. last .. ':' .. key, old) end\n",
        "",
        ("test_each_value_stays_a_version_in_the_order_of_commits",),
    ),
    Mutant(
        "earlier context values are kept without a limit",
        "commit",
        "    while kept > HISTORY do\n",
        "    while false do\n",
        ("test_of_each_key_the_oldest_versions_go_first",),
    ),
    Mutant(
        "what an attempt wrote has the number of the value before it",
        "commit",
        "made[index] = last + 1",
        "made[index] = last",
        ("test_an_attempt_is_told_with_what_it_read_and_wrote",),
    ),
    Mutant(
        "what attempts read stays for ever",
        "_records",
        "'[alcm]'",
        "'[alm]'",
        (left.what_attempts_read_goes_with_its_run,),
    ),
    Mutant(
        "a commit is not fenced",
        "commit",
        "if node and node[ENTRY] == head[HELD] then",
        "if node then",
        ("test_a_late_commit_changes_nothing",),
    ),
    Mutant(
        "a commit counts whatever the state",
        "commit",
        "    if node[STATE] == 'R' then\n      answer",
        "    if true then\n      answer",
        ("test_the_same_commit_twice_changes_nothing",),
    ),
    Mutant(
        "a repeated commit is refused",
        "commit",
        "      answer = '1'   -- the same once more\n",
        "      answer = '0'\n",
        (cut(test_faults.test_a_cut_commit_counts_once_and_brings_the_next_tasks),),
    ),
    Mutant(
        "a claim is not remembered",
        "commit",
        "call('SET', memory, name",
        "call('SET', memory .. ':', name",
        (cut(test_faults.test_a_cut_claim_loses_no_task),),
    ),
    Mutant(
        "expired scopes are not missed",
        "commit",
        "if head[STAGED] >= 0 and staged ~= head[STAGED] then",
        "if false then",
        (left.staged_scopes_that_expired_are_not_opened_without,),
    ),
    Mutant(
        "an opening that is refused settles nothing",
        "commit",
        "      if run.ending ~= '-' then settled[run]",
        "      if answer == '1' and run.ending ~= '-' then settled[run]",
        (left.a_run_that_stops_does_not_wait_for_scopes_that_expired,),
    ),
    Mutant(
        "a wide branch starts its first scopes only",
        "commit",
        "if room(node) > 0 then call('ZADD', pump_key",
        "if false then call('ZADD', pump_key",
        ("test_a_wide_fan_out_opens_in_chunks_and_closes_with_every_result",),
    ),
    Mutant(
        "a failure does not end the run",
        "commit",
        "if not is_handler(node) then set_ending(run, 'failed', failure) end",
        "",
        ("test_a_node_that_failed_for_good_fails_the_run",),
    ),
    Mutant(
        "a submit is not recognised",
        "submit",
        "local known = call('HGET', key, ':d')",
        "local known = false",
        ("test_submitting_again_changes_nothing_of_a_run_that_is_on_its_way",),
    ),
    Mutant(
        "a digest is not compared",
        "submit",
        "known == digest and 'same' or 'conflict'",
        "'same'",
        ("test_the_same_id_with_another_digest_is_a_conflict",),
    ),
    Mutant(
        "the reaper keeps the old entry",
        "reap",
        "  acknowledge(class, entry)\n",
        "",
        (left.the_queue_is_empty_in_the_end,),
    ),
    Mutant(
        "a lost worker is not counted",
        "reap",
        "node[LOST] = node[LOST] + 1",
        "node[LOST] = node[LOST]",
        ("test_every_vanished_worker_counts",),
    ),
    Mutant(
        "the reaper leaves the node as it is",
        "reap",
        "      requeue(run, node)\n",
        "",
        ("test_a_vanished_workers_tasks_are_ready_again",),
    ),
    Mutant(
        "a lease is not renewed",
        "renew",
        "  for first = 1, #entries, 1000 do",
        "  for first = 1, 0 do",
        (course.a_renewed_lease_holds,),
    ),
    Mutant(
        "an entry handed out again is held as before",
        "_take",
        "local hold = entry .. letters\n",
        "local hold = entry\n",
        zombies.CHECKS,
        each=True,
    ),
    Mutant(
        "a commit looks at the entry alone",
        "commit",
        "if node and node[ENTRY] == head[HELD] then",
        "if node and entry_of(node[ENTRY]) == entry_of(head[HELD]) then",
        (zombies.its_outcome_is_refused, zombies.it_cannot_hand_the_task_back),
        each=True,
    ),
    Mutant(
        "a renewal looks at the entry alone",
        "renew",
        "node[ENTRY] == held",
        "entry_of(node[ENTRY]) == entry_of(held)",
        (zombies.its_renewal_keeps_no_lease,),
    ),
    Mutant(
        "staging looks at the entry alone",
        "stage",
        "node[ENTRY] ~= held then return -1 end\n",
        f"{_ENTRY_ALONE.format('node[ENTRY]')} ~= {_ENTRY_ALONE.format('held')} then return -1 end\n"
        "held = node[ENTRY]\n",
        (zombies.its_scopes_are_not_among_those_of_the_holder,),
    ),
    Mutant(
        "printing looks at the entry alone",
        "printed",
        "node[ENTRY] == held",
        f"{_ENTRY_ALONE.format('node[ENTRY]')} == {_ENTRY_ALONE.format('held')}",
        (zombies.what_it_prints_is_not_kept,),
    ),
    Mutant(
        "a renewal does not look at the hold",
        "renew",
        "node[STATE] == 'R' and node[ENTRY] == held",
        "node[STATE] == 'R'",
        ("test_a_task_that_is_no_longer_held_cannot_be_renewed",),
    ),
    Mutant(
        "a stop kills nothing",
        "control",
        "  run.kill = 1\n",
        "",
        ("test_stopping_kills_what_runs_and_starts_nothing",),
    ),
    Mutant(
        "resume forgets parked nodes",
        "control",
        "if unpark(run, 128) then demand_all(run, {''}) end",
        "unpark(run, 128)",
        (course.many_parked_tasks_come_back,),
    ),
    Mutant(
        "resume leaves handlers among what is parked",
        "control",
        "  if run.ending ~= '-' then return free_handlers() end\n",
        "",
        (course.handlers_do_not_wait_for_all_that_a_pause_kept_back,),
    ),
    Mutant(
        "resume wakes nobody",
        "control",
        "'*', 'resume', id)",
        "'1-1', 'resume', id)",
        ("test_everyone_who_listens_wakes",),
    ),
    Mutant(
        "a retry is opened again by its repeat",
        "retry",
        "if call('HGET', run.key, ':x') == nonce then",
        "if false then",
        (cut(test_faults.test_a_cut_control_and_a_cut_retry_happen_once),),
    ),
    Mutant(
        "a chunk of scopes is staged again by its repeat",
        "stage",
        "if call('GET', marked) ~= mark then",
        "if true then",
        (cut(test_faults.test_a_cut_fan_out_opens_every_scope_once),),
    ),
    Mutant(
        "what a task prints is not fenced",
        "printed",
        "node[STATE] == 'R' and node[ENTRY] == held",
        "node[STATE] == 'R'",
        ("test_a_task_that_is_held_no_more_adds_nothing",),
    ),
    Mutant(
        "a task that has ended goes on printing",
        "printed",
        "node[STATE] == 'R' and node[ENTRY] == held",
        "node[ENTRY] == held",
        ("test_a_task_that_is_held_no_more_adds_nothing",),
    ),
    Mutant(
        "what a task prints is recorded again by its repeat",
        "printed",
        "call('GET', marked) ~= mark",
        "true",
        (cut(test_faults.test_a_cut_record_of_what_tasks_print_happens_once),),
    ),
    Mutant(
        "a due retry does not look at the node",
        "due",
        "if node and node[STATE] == 'T' and node[DUE] <= NOW then",
        "if node then",
        (course.an_old_retry_does_not_disturb_a_new_round,),
    ),
    Mutant(
        "paused runs go on",
        "_take",
        "and run.state ~= 'paused' and (run.ending == '-' or is_handler(node)) then",
        "and (run.ending == '-' or is_handler(node)) then",
        ("test_a_paused_run_starts_nothing_until_it_is_resumed",),
    ),
    Mutant(
        "ending runs go on",
        "_take",
        "and run.state ~= 'paused' and (run.ending == '-' or is_handler(node)) then",
        "and run.state ~= 'paused' then",
        (course.no_queued_task_starts_in_a_failed_run,),
    ),
    Mutant(
        "an ending run makes nodes ready",
        "_ready",
        "if run.ending ~= '-' and not is_handler(node) then",
        "if false then",
        (course.no_task_waits_in_a_failed_run,),
    ),
    Mutant(
        "an arrival counts twice",
        "_ready",
        "if inbox ~= '' and string.find(inbox, mark, 1, true) then return end",
        "",
        (course.an_arrival_counts_once,),
    ),
    Mutant(
        "a branch never closes",
        "_ready",
        "elseif node[CLOSED] >= node[CLOSINGS] then",
        "elseif node[CLOSED] > node[CLOSINGS] then",
        ("test_a_branch_closes_when_all_its_scopes_have_arrived",),
    ),
    Mutant(
        "a window is not kept",
        "_ready",
        "if node[WINDOW] == 0 then return left end",
        "do return left end",
        ("test_no_more_scopes_than_the_window_are_on_their_way",),
    ),
    Mutant(
        "a run ends while nodes run",
        "_ending",
        "or run.terminal or run.held > 0 then",
        "or run.terminal then",
        ("test_siblings_of_a_failed_node_finish_and_are_recorded",),
    ),
    Mutant(
        "handlers do not wait for each other",
        "_ending",
        "if not string.find('DFC', node[STATE], 1, true) then return end",
        "",
        (course.a_handler_handed_back_comes_before_the_next,),
    ),
    Mutant(
        "a finished run stays for ever",
        "_records",
        "      call('PEXPIRE', key, life)\n",
        "",
        (left.a_finished_run_expires,),
    ),
    Mutant(
        "what a claim finds before it takes is forgotten",
        "_vain",
        "first, early, lasts = index, answer[1] and answer[1][2], nil",
        "first, early, lasts = index, nil, nil",
        (course.the_second_of_one_moment_is_found,),
    ),
    Mutant(
        "a claim in vain does not look at what waits for demand",
        "_vain",
        "if call('EXISTS', KEYS[1] .. ':p:' .. class) == 1 then lasts = nil break end",
        "",
        (course.many_parked_tasks_come_back,),
    ),
    Mutant(
        "a claim in vain is not a repeat",
        "_vain",
        " and ARGV[4] == '0'",
        "",
        (cut(course.the_only_task_is_given_though_the_answer_is_lost),),
    ),
    Mutant(
        "a claim in vain has no outcomes",
        "_vain",
        "and #ARGV == asked + 7 ",
        "",
        (course.an_outcome_counts_though_nothing_waits,),
    ),
    Mutant(
        "who waits for the end is marked as who watches all",
        "watch",
        "ends and not all and '%d.5' or '%d'",
        "'%d'",
        (heard.who_waits_for_the_end_hears_of_it_alone,),
    ),
    Mutant(
        "who waits for the end takes over from who watches all",
        "watch",
        "ends and not all and '%d.5' or '%d'",
        "ends and '%d.5' or '%d'",
        (heard.who_watches_all_hears_all_beside_who_waits_for_the_end,),
    ),
    Mutant(
        "every change is told to who waits for the end",
        "_records",
        "elseif run.watched and not string.find(run.watched, '.', 1, true) then",
        "elseif run.watched then",
        (heard.who_waits_for_the_end_hears_of_it_alone,),
    ),
    Mutant(
        "submit tells no end",
        "submit",
        "if watched > 0 then",
        "if false then",
        (heard.a_run_whose_end_submit_tells_ends_with_its_result,),
    ),
    Mutant(
        "an end is told without its result",
        "_records",
        "if result and #result <= TOLD then",
        "if false then",
        (heard.a_run_whose_end_submit_tells_ends_with_its_result,),
    ),
    Mutant(
        "the end is not told to who waits for it alone",
        "_records",
        "if run.watched and run.ended then",
        "if run.watched and run.ended and not string.find(run.watched, '.', 1, true) then",
        (heard.who_waits_for_the_end_hears_of_it_alone,),
    ),
    Mutant(
        "a node is parked again by a repeat",
        "prepare",
        " and not (node[STATE] == 'K' and node[DUE] == round) then",
        " then",
        (course.many_unfinished_nodes_go_on,),
    ),
    Mutant(
        "parked nodes of a new round wait for ever",
        "retry",
        "if unpark(run, 64) then call('ZADD', pump_key(run.class), NOW, id .. ':') end",
        "unpark(run, 64)",
        (course.many_unfinished_nodes_go_on,),
    ),
    Mutant(
        "a scope that is over lets no other start",
        "_ready",
        "  for _, each in pairs(demand) do release(each[1], each[2], each[3]) end\n",
        "",
        ("test_no_more_scopes_than_the_window_are_on_their_way",),
    ),
    Mutant(
        "scopes start in a run that has an ending",
        "_ready",
        "  if count <= 0 or run.ending ~= '-' then return 0 end\n",
        "  if count <= 0 then return 0 end\n",
        (course.no_scope_starts_in_a_failed_run,),
    ),
    Mutant(
        "a parked node does not begin again",
        "_ready",
        "      if node[DUE] > 0 then begin_again(node) end\n",
        "",
        (course.many_failed_nodes_have_all_their_attempts_again,),
    ),
    Mutant(
        "what ended after the oldest held task stays in the queue",
        "_ready",
        "  if rest[1] then call('XDEL', queue, unpack(rest)) end\n",
        "",
        (left.nothing_is_left_of_what_ended_beside_a_held_task,),
    ),
    Mutant(
        "what ended before the oldest held task stays in the queue",
        "_ready",
        "  if last then call('XTRIM', queue, 'MINID', oldest or last) end\n",
        "",
        (
            "test_a_branch_closes_when_all_its_scopes_have_arrived",
            left.the_queue_is_empty_after_many,
        ),
    ),
    Mutant(
        "what was not delivered goes with what ended",
        "_ready",
        "if known < 4 or known < #some then",
        "if known < 4 then",
        (left.what_was_not_delivered_stays,),
    ),
    Mutant(
        "a queue that was forgotten is not known when it is there again",
        "_basics",
        "    open_queue(flow, class)\n    entry =",
        "    entry =",
        (left.a_queue_that_was_forgotten_is_known_when_something_of_it_comes_due,),
    ),
    Mutant(
        "scopes of very many branches get their expiry at once",
        "_records",
        "local SOME = 100 ",
        "local SOME = 100000 ",
        (left.scopes_of_very_many_branches_expire_in_pieces,),
    ),
    Mutant(
        "the expiry of scopes is not gone on with",
        "due",
        "if over then live_for(key .. ':x', life) else further[#further + 1] = member end",
        "live_for(key .. ':x', life)",
        (left.scopes_of_very_many_branches_expire_in_pieces,),
    ),
    Mutant(
        "scopes of very many branches stay when their run has gone",
        "due",
        "      call('UNLINK', key .. ':s:' .. path)\n",
        "",
        (left.scopes_of_very_many_branches_go_after_their_run,),
    ),
    Mutant(
        "the list of very many branches goes with its run",
        "_records",
        "      begin_walk(run)\n",
        "      call('PEXPIRE', run.key .. ':x', life)\n      begin_walk(run)\n",
        (left.scopes_of_very_many_branches_go_after_their_run,),
    ),
    *MUTANTS_IN_PIECES,
    Mutant(
        "watchers hear nothing",
        "_records",
        "elseif run.watched and not string.find",
        "elseif false and not string.find",
        (heard.a_change_of_a_run_is_heard,),
    ),
    *(
        Mutant(
            f"nobody hears of the tasks that {name} makes ready",
            name,
            "\nring()\n",
            "\n",
            (bells.whoever_listens_hears_of_every_task,),
        )
        for name in ("submit", "commit", "due", "reap", "lost", "control", "retry")
    ),
    Mutant(
        "bells grow for ever",
        "_basics",
        "'MAXLEN', '~', '1', ",
        "",
        (bells.a_bell_forgets_what_is_long_past,),
    ),
    Mutant(
        "nobody hears of the second of two tasks",
        "_take",
        "taken[class] = entries[#entries][1]",
        "taken[class] = minted[class]",
        (bells.what_a_call_leaves_is_heard_of,),
    ),
    Mutant(
        "every step of a chain wakes everybody",
        "_basics",
        "if taken[class] ~= entry then",
        "if true then",
        (bells.a_chain_wakes_nobody_else,),
    ),
]


#: what is taken out of which function of the waker, and the check that must notice
PASSED_OVER: list[tuple[str, str, Callable[[Store], None]]] = [
    (
        "worthwhile",
        "queue in rung or ",
        heard.what_rang_and_what_an_outcome_makes_ready_are_claimed_together,
    ),
    (
        "worthwhile",
        " or queue in others",
        heard.what_rang_and_what_an_outcome_makes_ready_are_claimed_together,
    ),
    (
        "_sure",
        "and self._queues[partition].streams.keys() >= set(queues)",
        heard.a_queue_it_does_not_listen_to_is_looked_into,
    ),
    (
        "_sure",
        "and threading.get_ident() == self._thread",
        heard.another_thread_looks_into_every_queue,
    ),
    (
        "_sure",
        "and time.monotonic() < self._round_at.get(partition, 0.0)",
        heard.once_in_a_while_all_are_looked_into,
    ),
]
