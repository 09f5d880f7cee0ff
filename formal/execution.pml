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
 *   Watcher          who brings back what rests (with -DREST)    use_cases.watch, adapters.journal.watchlist
 *   Market           the condition comes and goes                the watcher's price, and the quotes of workers
 *   Time             expiresAt passes, or never (with -DEXPIRY)  domain.decisions, Order.expires_at
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
 * With -DREST the order rests: its worker notes it on the watchlist and acknowledges its message; from then on only a
 * watcher brings it back. The condition moves MOVES times at the most, and then stays. Each worker sees it by a quote of its
 * own. Expiry has three moments, since clocks differ: no clock has come to expiresAt, some have, all have.
 *
 * The index by price is no variable: it has the order while its status is `open`. That it shows a write late is a watcher
 * that looked before the write and acts after it. A watcher sends only where a worker is free for the message: one that
 * waits longer is one that is sent later.
 *
 * Left out: submit (the order is accepted already); durations (what takes time may take any); amounts; the prices by which
 * a watcher finds what may be due (that they are never too late is for the tests); that of two watchers only one goes on;
 * a resting order of which a subscriber lacks a status (it has one message more); how a worker waits for a confirmation
 * (it may look at any moment); swaps for less than minAmountOut; subscribers (delivery.pml); the sequence, on which an
 * append is conditional too. Attempts and the queue's maxReceiveCount are 2, not 3 and 5; returns to `open` 1, not 10.
 *
 * Each WRONG_... replaces one line by a wrong one; formal/check shows that spin then finds a counterexample.
 */

#ifndef FAULTS
#define FAULTS   2
#endif
#ifndef MESSAGES
#ifdef REST
#define MESSAGES 1 /* of the same order; a watcher sends more */
#else
#define MESSAGES 2 /* of the same order */
#endif
#endif
#define ATTEMPTS 2 /* Policy.max_attempts */
#define KILLS    2 /* maxReceiveCount: so many deliveries that killed their worker make a message a dead letter */
#define HASHES   3 /* transactions; a right engine has one for each attempt, a wrong one may have more */
#ifdef REST
#if defined(POISON)
#error "watchers send without end, and each message can kill: no finite number of states"
#endif
#ifndef WATCHERS
#define WATCHERS 1
#endif
#ifndef MOVES
#define MOVES    2 /* of the market */
#endif
#ifndef RETURNS
#define RETURNS  1 /* Policy.most_returns */
#endif
#endif

mtype:status = { pending, open, triggered, routing, building, submitted, confirmed, failed, cancelled, expired };
mtype:chain = { unsent, flying, waiting, landed, reverted, dead };

/* The lifecycle. tests/formal/test_lifecycle_table.py holds it against order_engine.domain.lifecycle.TRANSITIONS. */
#define LEGAL(from, to) ( \
    (from == pending && (to == open || to == routing || to == failed || to == cancelled || to == expired)) || \
    (from == open && (to == triggered || to == failed || to == cancelled || to == expired)) || \
    (from == triggered && (to == routing || to == failed || to == cancelled || to == expired)) || \
    (from == routing && (to == building || to == routing || to == open || to == failed || to == cancelled || to == expired)) || \
    (from == building && (to == submitted || to == routing || to == open || to == failed || to == cancelled || to == expired)) || \
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

#ifdef EXPIRY
byte time;             /* expiresAt has passed by 0: no clock; 1: some clocks; 2: all clocks, the chain's among them */
bool outlasts;         /* a transaction was built that can land after expiresAt */
#define IS_OVER    (time > 0)
#define IN_TIME    (time < 2)
#else
#define IS_OVER    false
#define IN_TIME    true
#endif

#ifdef REST
bool market;           /* the condition is true */
byte moves = MOVES;
byte returns = RETURNS;
bool missed;           /* misses > 0 */
bool noted;            /* the order's side is on the watchlist */
bool emptied;          /* a watcher saw no order on the side, and it was not noted since */
bool entry;            /* the order's expiry is on the watchlist */
bool seen;             /* a worker saw the condition true, since the order came to rest last; only assertions look at it */
byte busy = 3;         /* workers with a message in hand, which comes back if they crash; only an assertion looks at it */
#define ROOM        (busy + orders[0] + orders[1] < 2) /* for one more message to find a worker */
#define MESSAGELESS (orders[0] + orders[1] + dead_letters == 0)
#endif

#define IS_FINAL   (status == confirmed || status == failed || status == cancelled || status == expired)
#define CAN_LAND(t) (chain[t] == unsent || chain[t] == flying || chain[t] == waiting)
#define SETTLED    (IS_FINAL && closed && row == status && orders[0] + orders[1] + dead_letters == 0)
#ifndef REST
#define AT_REST    SETTLED
#else
/* Or the order waits for the market; or it has a message of its own that comes back until the market moves; or it was
   cancelled, no message told a worker, and the client that got no answer did not ask again: its expiry brings it back. */
#define AT_REST    (SETTLED || (!IS_OVER && ( \
    (status == open && noted && entry && owner == 0 && !market && MESSAGELESS) || \
    (status == routing && missed && !market) || \
    (status == cancelled && entry && MESSAGELESS))))
#define LOST       (status == open && !(noted && entry) && busy == 0 && MESSAGELESS)
#endif

/* An alternative of every call. The call itself is another, so that a fault comes before it; a fault after it is the
   next call's. */
#ifdef POISON
#define FAULT :: atomic { owner == me && !gives_up -> goto crashed }
#else
#define FAULT :: atomic { faults > 0 -> faults--; goto crashed } \
              :: atomic { faults > 0 -> faults--; goto unanswered }
#endif

#define NEVER_TAKEN_UP (attempt == 0 && owner == 0 && (status == pending || status == cancelled))
#define LEFT_ALONE (NEVER_TAKEN_UP || (status == open && owner == 0)) /* by the dead letters: nobody died with it */
#define CAN_CLAIM      (!closed && !backing_off && (owner == 0 || run_out))

/* Journal.claim; `t` is then the transaction that the order depends on, if it has one. */
inline take_lease() {
    owner = me;
    run_out = false;
    orphaned = false;
    taken_up = taken_up || !gives_up;
    t = ((status == submitted && !attempt_failed) || status == confirmed -> transaction : 0)
}

/* What an append means for the rest of an order. (A long #ifdef in an inline would shift the lines that spin tells.) */
#ifdef REST
inline rest_or_go_on(to) {
    if
    :: to == open ->
        if :: status != pending -> returns-- :: else fi;
        attempt = 0;
        attempt_failed = false;
#ifdef WRONG_RESTS_AS_IF_NEW
        transaction = 0;
#endif
        seen = false
    :: to == triggered -> seen = met
    :: to == building -> met = false
    :: else
    fi
}
#else
#define rest_or_go_on(to)
#endif

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
        rest_or_go_on(to);
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
inline release(with_error, until_later, for_good, miss) {
    if
    :: owner != me -> goto again /* LeaseLost */
    :: atomic { owner == me ->
        owner = 0;
        run_out = false;
        attempt_failed = attempt_failed || with_error;
        backing_off = until_later;
#ifdef REST
        missed = missed || miss;
#endif
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
#ifdef REST
        assert(seen); /* no swap unless a worker saw the condition true */
#endif
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

#ifdef REST
#define IN_HAND(more) busy = busy + more

/* VenueCalls.quotes. If no venue quotes, that is not what the order waits for. */
inline quote() {
    if
    :: met = market
    :: atomic { faults > 0 -> faults--; met = false }
    FAULT
    fi
}

/* Watchlist.note, a write for the expiry and one for the side. */
inline note() {
    if
    :: entry = true
    FAULT
    fi;
    if
#ifdef WRONG_FORGOTTEN_ANYHOW
    :: noted = true
#else
    :: atomic { noted = true; emptied = false }
#endif
    FAULT
    fi
}

/* decisions._may_return, as often as the policy has it. */
#if defined(WRONG_RESTS_AFTER_SUBMITTED) || defined(WRONG_RESTS_AS_IF_NEW)
#define MAY_RETURN (returns > 0)
#else
#define MAY_RETURN (returns > 0 && transaction == 0)
#endif
#else
#define IN_HAND(more)
#endif

proctype Worker(byte me; bool gives_up) {
    byte kills; /* workers that the message in hand has killed */
    byte t;     /* the transaction in hand; 0: none */
#ifdef REST
    bool met;   /* its own quote is what the order waits for */
#ifdef WRONG_NOTED_ONLY_WHEN_OPENED
    bool opened;
#endif
#endif

idle:
#ifdef REST
    atomic { kills = 0; t = 0; met = false; IN_HAND(-1) };
#else
    atomic { kills = 0; t = 0 };
#endif
end:
    if
    :: atomic { !gives_up && orders[0] > 0 -> orders[0]--; IN_HAND(1) }
    :: atomic { !gives_up && orders[1] > 0 -> orders[1]--; kills = 1; IN_HAND(1) }
    :: atomic { gives_up && dead_letters > 0 -> dead_letters--; IN_HAND(1) }
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
    :: gives_up && LEFT_ALONE -> goto anew
    :: atomic { CAN_CLAIM && !(gives_up && LEFT_ALONE) ->
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

#ifdef EXPIRY
    if
    :: IN_TIME
    :: IS_OVER -> goto over
    fi;
#endif
    /* An attempt, from its beginning. */
#ifndef REST
    append(routing);
#else
    if
    :: status == pending || status == open ->
        quote();
#ifdef WRONG_NOTED_ONLY_WHEN_OPENED
        opened = status == pending;
#endif
        if :: status == pending -> append(open) :: else fi;
#ifndef WRONG_EXECUTED_AT_OPEN
#ifdef WRONG_NOTED_ONLY_WHEN_OPENED
        if :: met :: !met && opened -> goto rest :: !met && !opened -> goto put_down fi;
#else
        if :: met :: !met -> goto rest fi;
#endif
#endif
        append(triggered);
        append(routing)
    :: status == routing && missed && !attempt_failed -> quote()
    :: else -> append(routing); quote()
    fi;
#endif
    if
    :: append(building)                 /* a quote was chosen; though not met: stop and takeProfit are market orders now */
    :: attempt < ATTEMPTS -> goto retry /* all venues failed transiently */
    :: goto fail                        /* or for good: slippage, liquidity, the order's age */
#ifdef REST
    :: MAY_RETURN -> goto rest_on
    :: !met && returns == 0 && transaction == 0 -> goto miss
#endif
    fi;
#ifdef REST
    if
    :: true
    :: MAY_RETURN -> goto rest_on /* BuildFailed */
    fi;
#endif
#ifdef EXPIRY
    if
    :: IN_TIME
#ifdef WRONG_BUILT_BEYOND_EXPIRY
    :: outlasts = true
#else
    :: goto over /* decisions._outlasts */
#endif
    fi;
#endif
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
    release(true, true, false, false);
    goto anew;

later:
    release(false, true, false, false);
    goto anew;

#ifdef REST
miss: /* a message of its own, and no event */
    release(false, true, false, true);
    goto anew;

rest_on:
    append(open);

rest: /* only the watcher brings it back */
#ifdef WRONG_ACKNOWLEDGED_BEFORE_NOTED
    release(false, false, false, false);
    atomic { IN_HAND(-1) };
    if
    :: atomic { entry = true; noted = true; emptied = false }
    :: atomic { faults > 0 -> faults-- }
    fi;
    atomic { IN_HAND(1); goto idle };
#else
    note();
put_down:
    release(false, false, false, false);
    goto idle;
#endif
#endif

put_back:
    release(false, false, false, false);
    goto anew;

fail:
    if
    :: append(failed)
    :: append(expired) /* its time is over, or it was to be tried once */
    fi;
    goto close;

#ifdef EXPIRY
over:
    append(expired);
    goto close;
#endif

confirm:
    append(confirmed);

close:
#ifdef WRONG_CLOSED_BEFORE_THE_ROW
    release(false, false, true, false);
    record();
#else
    record();
    release(false, false, true, false);
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
    assert(IN_TIME); /* nothing lands after the expiry */
    chain[t] = landed
}

#ifdef EXPIRY
#define IS_VALID (IN_TIME || outlasts)
#else
#define IS_VALID true
#endif

#define FATE(t) \
    :: atomic { chain[t] == flying -> chain[t] = waiting } \
    :: atomic { chain[t] == flying && faults > 0 -> faults--; chain[t] = unsent } /* a lost broadcast */ \
    :: atomic { chain[t] == waiting -> chain[t] = reverted } \
    :: atomic { chain[t] == waiting && IS_VALID -> land(t) } \
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
    bool refused;
    do
#ifdef WRONG_CANCELLED_AFTER_SUBMITTED
    :: atomic { !IS_FINAL ->
#else
    :: atomic { !IS_FINAL && transaction == 0 -> /* Journal.decide */
#endif
        assert(!refused); /* a cancel that was refused is never granted */
        status = cancelled;
        owner = 0; /* whoever has the order loses it */
        run_out = false;
        orphaned = false;
        backing_off = false };
        if
        :: orders[0]++
        :: atomic { faults > 0 -> faults-- } /* its client does not repeat the request */
        fi;
        break
    :: atomic { !refused && (IS_FINAL || transaction != 0) -> /* TooLateToCancel */
        assert(status != open); /* an order that rests can be cancelled */
        refused = true }
    :: atomic { refused && IS_FINAL -> break }
    od
}

#ifdef REST
proctype Watcher() {
end:
    do
    :: noted && market && status == open && ROOM ->
        if
        :: orders[0]++
        :: atomic { faults > 0 -> faults-- } /* dies, or the queue took nothing */
        fi
#ifdef WRONG_SWEPT_BY_ITS_OWN_CLOCK
    :: entry && IS_OVER && ROOM ->
#else
    :: entry && !IN_TIME && ROOM -> /* by all clocks: else a worker rests it once more, and notes what is then deleted */
#endif
#ifdef WRONG_SWEPT_BEFORE_SENT
        entry = false;
#endif
        if
        :: orders[0]++;
            if
            :: entry = false
            :: atomic { faults > 0 -> faults-- }
            fi
        :: atomic { faults > 0 -> faults-- }
        fi
#ifdef TIDY
    /* Watcher._tidy; Watchlist.forget is conditional on notedAt. */
    :: atomic { noted && status != open && !emptied -> emptied = true }
    :: atomic { emptied -> noted = false; emptied = false }
#endif
    od
}

proctype Market() {
end:
    do
    :: atomic { moves > 0 -> moves--; market = !market }
    :: atomic { moves > 0 -> moves = 0 } /* it stays so for good */
    od
}
#endif

#ifdef EXPIRY
proctype Time() {
    if
    :: time = 1; time = 2
    :: true /* not in this life */
    fi
}
#endif

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
#if !defined(REST) || defined(DRIFT)
        :: dead_letters++ /* it drifted there while a service was unavailable */
#endif
        fi;
        run Worker(1, false);
        run Worker(2, false);
        run Worker(3, true);
        run Chain();
#ifdef CANCEL
        run Canceller();
#endif
#ifdef REST
        run Watcher();
#if WATCHERS > 1
        run Watcher();
#endif
        run Market();
#endif
#ifdef EXPIRY
        run Time();
#endif
        run Clock()
    };
    if
    /* Where nothing more happens: */
    :: timeout -> assert(AT_REST) /* nothing lost */
#ifdef REST
    :: atomic { LOST -> assert(false) } /* an open order is watched, or has a message */
#endif
    fi
}

/* And nothing goes on for ever: in the end the order is final, has its row, is closed, and has no message left. */
ltl nothing_lost { <>[] AT_REST }
