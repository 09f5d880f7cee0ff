/*
 * The life of one order: messages, lease, journal, venue, history and dead letters.
 *
 * process          stands for                                  in the code (layers/common/python/order_engine)
 *   Worker 1, 2      two deliveries of the order, perhaps at     domain.decisions, use_cases.execute
 *                    once
 *   Worker 3         the consumer of the dead-letter queue       Executor.give_up, functions/dead_letters
 *   Canceller        the order's owner, once (with -DCANCEL)     use_cases.orders, Journal.decide
 *   Chain            what becomes of a transaction: it arrives   a venue (ports.Venue) and its chain, which has no guard
 *                    or is lost, lands or reverts, or its        of one landing an order: only the engine prevents a
 *                    validity passes, its only death             second one
 *   Clock            leases and back-offs run out                leaseUntil and notBefore in the journal
 *
 * `status` to `closed` are the journal's item; an atomic step on it is one conditional write of adapters/journal/.
 * `orders` and `dead_letters` are the queues, `row` is PostgreSQL.
 *
 * The order has two messages from the beginning; one of them may have drifted to the dead letters while nothing worked.
 * Before and after every call a fault is possible, FAULTS in all: the worker crashes and its message is redelivered; a
 * service does not say whether it did what it was asked for, and the worker sends its message anew; PostgreSQL is down; a
 * broadcast is lost; a lease runs out under a worker that still runs. With -DPOISON instead, every step of a worker that
 * has the order may be its last, for ever.
 *
 * Left out: submit (the order is accepted already); durations (what takes time may take any); prices and quotes (an
 * attempt finds one, or fails); how a worker waits for a confirmation (it may look at any moment); swaps for less than
 * minAmountOut; subscribers (delivery.pml); the sequence, on which an append is conditional too. Attempts and the queue's
 * maxReceiveCount are 2, not 3 and 5.
 *
 * Each WRONG_... replaces one line by a wrong one; formal/check shows that spin then finds a counterexample.
 */

#ifndef FAULTS
#define FAULTS   2
#endif
#ifndef MESSAGES
#define MESSAGES 2 /* of the same order */
#endif
#define ATTEMPTS 2 /* Policy.max_attempts */
#define KILLS    2 /* maxReceiveCount: so many deliveries that killed their worker make a message a dead letter */
#define HASHES   3 /* transactions; a right engine has one for each attempt, a wrong one may have more */

mtype:status = { pending, routing, building, submitted, confirmed, failed, cancelled, expired };
mtype:chain = { unsent, flying, waiting, landed, reverted, dead };

/* The lifecycle. tests/formal/test_lifecycle_table.py holds it against order_engine.domain.lifecycle.TRANSITIONS. */
#define LEGAL(from, to) ( \
    (from == pending && (to == routing || to == failed || to == cancelled || to == expired)) || \
    (from == routing && (to == building || to == routing || to == failed || to == cancelled || to == expired)) || \
    (from == building && (to == submitted || to == routing || to == failed || to == cancelled || to == expired)) || \
    (from == submitted && (to == confirmed || to == routing || to == failed || to == expired)))

mtype:status status = pending;
byte attempt;
bool attempt_failed;
byte transaction;      /* the one submitted last; 0: none */
byte owner;            /* leaseOwner; 0: the lease is free */
bool run_out;          /* leaseUntil has passed */
bool backing_off;      /* notBefore has not passed */
bool closed;

byte orders[KILLS];    /* waiting messages, by how many workers each has killed */
byte dead_letters;
mtype:status row;      /* 0: PostgreSQL has no row yet */
mtype:chain chain[HASHES + 1];
byte hashes;           /* transactions that were journaled or sent */

byte faults = FAULTS;
bool orphaned;         /* the lease's owner is no more; nobody in the engine can see this */
bool taken_up;         /* a worker has had the order; only an assertion looks at it */

#define IS_FINAL   (status == confirmed || status == failed || status == cancelled || status == expired)
#define CAN_LAND(t) (chain[t] == unsent || chain[t] == flying || chain[t] == waiting)
#define SETTLED    (IS_FINAL && closed && row == status && orders[0] + orders[1] + dead_letters == 0)

/* An alternative of every call. The call itself is another, so that a fault comes before it; a fault after it is the
   next call's. */
#ifdef POISON
#define FAULT :: atomic { owner == me && !gives_up -> goto crashed }
#else
#define FAULT :: atomic { faults > 0 -> faults--; goto crashed } \
              :: atomic { faults > 0 -> faults--; goto unanswered }
#endif

#define NEVER_TAKEN_UP (attempt == 0 && owner == 0 && (status == pending || status == cancelled))
#define CAN_CLAIM      (!closed && !backing_off && (owner == 0 || run_out))

/* Journal.claim; `t` is then the transaction that the order depends on, if it has one. */
inline take_lease() {
    owner = me;
    run_out = false;
    orphaned = false;
    taken_up = taken_up || !gives_up;
    t = ((status == submitted && !attempt_failed) || status == confirmed -> transaction : 0)
}

/* Journal.append, by the worker `me` and for transaction `t`. */
inline append(to) {
    if
#ifdef WRONG_APPEND_WITHOUT_LEASE
    :: atomic { true ->
#else
    :: owner != me -> goto again /* LeaseLost */
    :: atomic { owner == me ->
#endif
        assert(LEGAL(status, to)); /* only legal moves; final is final */
        status = to;
        if
        :: to == routing ->
            if :: attempt == 0 || attempt_failed -> attempt++ :: else fi;
            attempt_failed = false
        :: to == submitted -> name_transaction(); transaction = t
        :: to == confirmed -> assert(chain[t] == landed) /* confirmed only what has landed */
        :: to == failed -> assert(taken_up) /* no order is ended that no worker took up */
        :: else
        fi }
    FAULT
    fi
}

/* Journal.release. */
inline release(with_error, until_later, for_good) {
    if
    :: owner != me -> goto again /* LeaseLost */
    :: atomic { owner == me ->
        owner = 0;
        run_out = false;
        attempt_failed = attempt_failed || with_error;
        backing_off = until_later;
        closed = for_good }
    FAULT
    fi
}

/* Venue.build, counted where the transaction first leaves a trace. */
inline name_transaction() {
    if :: t == 0 -> hashes++; t = hashes; chain[t] = unsent :: else fi
}

/* Venue.submit: the broadcast is on its way. A transaction that the chain has, or does not take any more, is as it was. */
inline send() {
    if
    :: atomic { assert(status != cancelled); /* cancelled is never swapped */
        name_transaction(); if :: chain[t] == unsent -> chain[t] = flying :: else fi }
    FAULT
    fi
}

/* History.record. PostgreSQL may be down: the row stays owed, and the order's message comes back. */
inline record() {
    if
    :: atomic {
        assert(row == 0 || row == status); /* the row says what the journal says */
        row = status }
    :: atomic { faults > 0 -> faults--; goto later }
    FAULT
    fi
}

proctype Worker(byte me; bool gives_up) {
    byte kills; /* workers that the message in hand has killed */
    byte t;     /* the transaction in hand; 0: none */

idle:
    atomic { kills = 0; t = 0 };
end:
    if
    :: atomic { !gives_up && orders[0] > 0 -> orders[0]-- }
    :: atomic { !gives_up && orders[1] > 0 -> orders[1]--; kills = 1 }
    :: atomic { gives_up && dead_letters > 0 -> dead_letters-- }
    fi;

claim:
    if
    :: closed -> goto idle /* OrderClosed: the message is acknowledged */
    :: atomic { !closed && (backing_off || (owner != 0 && !run_out)) -> /* BackingOff, LeaseHeld */
#ifdef WRONG_COUNT_FORGOTTEN
        kills = 0;
#endif
#ifdef WRONG_ACKNOWLEDGED_WHILE_HELD
        goto idle
#else
        goto again
#endif
        }
#ifndef WRONG_LEASE_BEFORE_PUT_BACK
    :: gives_up && NEVER_TAKEN_UP -> goto anew
    :: atomic { CAN_CLAIM && !(gives_up && NEVER_TAKEN_UP) ->
#else
    :: atomic { CAN_CLAIM && gives_up && NEVER_TAKEN_UP -> take_lease(); goto put_back }
    :: atomic { CAN_CLAIM && !(gives_up && NEVER_TAKEN_UP) ->
#endif
        take_lease();
        if
        :: IS_FINAL -> goto close
        :: !IS_FINAL && t != 0 && !gives_up -> goto look_up
        :: !IS_FINAL && t != 0 && gives_up -> goto abandon
        :: !IS_FINAL && t == 0 && gives_up -> goto fail
        :: !IS_FINAL && t == 0 && !gives_up
        fi }
    FAULT
    fi;

    /* An attempt, from its beginning. */
    append(routing);
    if
    :: append(building)                 /* a quote was chosen */
    :: attempt < ATTEMPTS -> goto retry /* all venues failed transiently */
    :: goto fail                        /* or for good: slippage, liquidity, the order's age */
    fi;
#ifdef WRONG_SENT_BEFORE_JOURNALED
    send();
#endif
    append(submitted);
    send();
    goto abandon;

look_up: /* Venue.status: another worker journaled this transaction, and may have sent it */
    if
    :: chain[t] == unsent || chain[t] == flying -> send() /* NotFound: sent again */
    :: goto abandon                                       /* known, or too old to be sent again */
    FAULT
    fi;

abandon: /* Venue.abandon */
    if
    :: chain[t] == landed -> goto confirm
    :: chain[t] == reverted -> goto fail
#ifdef WRONG_PENDING_IS_DEAD
    :: (chain[t] == dead || CAN_LAND(t)) && attempt < ATTEMPTS && !gives_up -> goto retry
#else
    :: chain[t] == dead && attempt < ATTEMPTS && !gives_up -> goto retry
#endif
    :: chain[t] == dead && (attempt == ATTEMPTS || gives_up) -> goto fail
    :: CAN_LAND(t) -> goto later
    FAULT
    fi;

retry:
    release(true, true, false);
    goto anew;

later:
    release(false, true, false);
    goto anew;

put_back:
    release(false, false, false);
    goto anew;

fail:
    if
    :: append(failed)
    :: append(expired) /* its time is over, or it was to be tried once */
    fi;
    goto close;

confirm:
    append(confirmed);

close:
#ifdef WRONG_CLOSED_BEFORE_THE_ROW
    release(false, false, true);
    record();
#else
    record();
    release(false, false, true);
#endif
    goto idle;

unanswered: /* the lease is kept: the next worker then knows that this one may have left something undone */
    atomic { if :: owner == me -> orphaned = true :: else fi };

again: /* the message as it is: a worker sends it anew with its count, the consumer of dead letters leaves it there */
    atomic { if :: gives_up -> dead_letters++; goto idle :: else -> goto resend fi };

anew:  /* a message that has not killed anybody, since its worker got somewhere */
    kills = 0;

resend: /* sent anew, then acknowledged; a fault in between leaves two */
    if
    :: orders[kills]++
    FAULT
    fi;
#ifndef POISON
    if
    :: goto idle
    FAULT
    fi;
#else
    goto idle;
#endif

crashed:
    atomic {
        if :: owner == me -> orphaned = true :: else fi;
        if
        :: !gives_up && kills + 1 < KILLS -> orders[kills + 1]++
        :: else -> dead_letters++
        fi;
        goto idle
    }
}

inline land(t) {
    assert(chain[1] != landed && chain[2] != landed && chain[3] != landed); /* one execution */
    assert(status != failed && status != expired); /* failed only where nothing can land */
    assert(status != cancelled); /* cancelled is never swapped */
    chain[t] = landed
}

#define FATE(t) \
    :: atomic { chain[t] == flying -> chain[t] = waiting } \
    :: atomic { chain[t] == flying && faults > 0 -> faults--; chain[t] = unsent } /* a lost broadcast */ \
    :: atomic { chain[t] == waiting -> chain[t] = reverted } \
    :: atomic { chain[t] == waiting -> land(t) } \
    :: atomic { CAN_LAND(t) -> chain[t] = dead } /* its validity has passed: the only death */

proctype Chain() {
end:
    do
    FATE(1)
    FATE(2)
    FATE(3)
    od
}

proctype Canceller() {
    if
#ifdef WRONG_CANCELLED_AFTER_SUBMITTED
    :: atomic { !IS_FINAL ->
#else
    :: atomic { !IS_FINAL && transaction == 0 -> /* Journal.decide */
#endif
        status = cancelled;
        owner = 0; /* whoever has the order loses it */
        run_out = false;
        orphaned = false;
        backing_off = false };
        if
        :: orders[0]++
        :: atomic { faults > 0 -> faults-- } /* its client does not repeat the request */
        fi
    :: atomic { IS_FINAL || transaction != 0 } /* TooLateToCancel */
    fi
}

proctype Clock() {
end:
    do
    :: atomic { owner != 0 && !run_out && orphaned -> run_out = true }
    :: atomic { owner != 0 && !run_out && !orphaned && faults > 0 -> faults--; run_out = true }
    :: backing_off -> backing_off = false
    od
}

init {
    atomic {
        orders[0] = MESSAGES - 1;
        if
        :: orders[0]++
        :: dead_letters++ /* it drifted there while a service was unavailable */
        fi;
        run Worker(1, false);
        run Worker(2, false);
        run Worker(3, true);
        run Chain();
#ifdef CANCEL
        run Canceller();
#endif
        run Clock()
    };
    /* Where nothing more happens: */
    timeout -> assert(SETTLED) /* nothing lost */
}

/* And nothing goes on for ever: in the end the order is final, has its row, is closed, and has no message left. */
ltl nothing_lost { <>[] SETTLED }
