/*
 * The statuses of one order on their way to a subscriber: fan-out, catch-up, handover, pages.
 *
 * process            stands for                                   in the code (layers/common/python/order_engine)
 *   Publisher 1, 2     workers of the order; the second takes it   use_cases.publish (`post`, `finish`), as
 *                      over when the lease has run out             use_cases.execute uses it
 *   Notify             invocations of notify, one or two at once   use_cases.notify, functions/notify
 *   Client             a client that joins at any time, from the   use_cases.subscribe (`join`, `leave`),
 *                      first status or from where it left off,     functions/ws_connect, and the client itself
 *                      and stays or leaves
 *   Clock              leases run out; a write lands late
 *
 * The subscriber is kept on page 0, which is part of the order's item, or on page 1, an item of its own, as others have
 * left room or not. `sequence` to `closed` are the order's item, `turned` is the page's `sequence`; an atomic step on them
 * is one conditional write of adapters/journal/.
 *
 * Faults, FAULTS in all, before and after every call: a worker or an invocation of notify crashes and is repeated; a post
 * does not reach the socket, or is not known to have; a service does not say whether it did what it was asked for, or does
 * it later; an order is deferred between two statuses; a lease runs out under a worker that still runs. A post is refused
 * (410) when the socket is gone, or its handshake is not over yet. With -DMUTE, no post ever reaches the socket.
 *
 * Left out: what happens between two statuses (execution.pml); messages (until the order is closed, a worker takes it up
 * again); other subscribers, but for what they do to this one: they crowd the order, and may leave it `behind`; the time
 * that a status has (a post may fail at any time); the connections table; replay, which is a take_back by the client; a
 * subscriber whose invocations of notify all fail when the order is closed already.
 *
 * Each WRONG_... replaces one line by a wrong one; formal/check shows that spin then finds a counterexample.
 */

#ifndef FAULTS
#define FAULTS     2
#endif
#ifndef PUBLISHERS
#define PUBLISHERS 1
#endif
#ifndef NOTIFIERS
#define NOTIFIERS  1
#endif
#define LAST       3 /* the number of the final status */
#define STRAY      9 /* in `due`: notify is the writer, and seems to have been lost */

byte sequence = 1;
bool crowded;
bool behind;
byte owner;            /* leaseOwner; 0: the lease is free */
bool run_out;          /* leaseUntil has passed */
bool closed;

/* The subscriber, as it is kept. */
bool kept;
bit page;
byte sent_through;
byte generation;
bool live;             /* live_after is set: the publisher is the writer */
byte live_after;

byte turned;           /* the last event that was fanned out on page 1 */
byte wanted;           /* the generation that notify is asked for; 0: none */

mtype:socket = { away, connecting, connected, gone };
mtype:socket socket = away;
byte seen;             /* the last status that the client has seen */

byte faults = FAULTS;
bool orphaned;         /* the lease's owner is no more; nobody in the engine can see this */
byte late;             /* a take_back after status late - 1 that has still to take effect; 0: none */

#define SETTLED (closed && sequence == LAST && (socket == gone || seen == LAST))

#ifdef MUTE
#define REACHABLE false
#define MUTED     (socket == connected)
#else
#define REACHABLE (socket == connected)
#define MUTED     false
#endif

#define FAULT :: atomic { faults > 0 -> faults--; goto crashed }

/* A status arrives: in order and without gaps, but perhaps again. */
inline arrive(number) {
    assert(number <= seen + 1); /* in order, without gaps */
    if :: number > seen -> seen = number :: else fi
}

/* NotifyRequests.send. An older generation's invocation would end at once. */
inline request(number) {
    if :: wanted < number -> wanted = number :: else fi
}

/* Subscribers.leave */
inline forget() {
    kept = false; live = false; live_after = 0; sent_through = 0
}

/* Subscribers.take_back */
inline take_back(first) {
    if
    :: kept -> live = false; live_after = 0; sent_through = first - 1; generation++
    :: else
    fi
}

/* What an append, a claim or a turn returns of the subscriber, and what is due to it therefore. */
inline look() {
    its_generation = generation;
    due = 0;
    if
    :: kept && !live && generation > 1 -> due = STRAY
    :: kept && live && live_after < known ->
#ifdef WRONG_BEHIND_FORGOTTEN
        due = known
#else
        due = (lagging -> live_after + 1 : known)
#endif
    :: else
    fi
}

inline raise_turned() {
#ifdef WRONG_TURNED_DOWNWARDS
    turned = known
#else
    if :: turned < known -> turned = known :: else fi
#endif
}

/* Subscribers.turn, if the order is crowded. */
inline turn() {
    if
    :: crowd ->
        if
        :: atomic { raise_turned(); if :: page == 1 -> look() :: else fi }
        :: atomic { faults > 0 -> faults--; complete = false; if :: page == 1 -> due = 0 :: else fi }
        FAULT
        fi
    :: else
    fi
}

/* Publisher.post: what is due, in order, until a post fails; then to notify with whom was not reached. */
inline post() {
    complete = true;
    turn();
    number = due;
    do
    :: due == 0 || due == STRAY -> break
    :: due != 0 && due != STRAY && number > known -> due = 0; break
    :: due != 0 && due != STRAY && number <= known ->
        if
        :: atomic { REACHABLE -> arrive(number); number++ }
        :: atomic { REACHABLE && faults > 0 -> faults--; arrive(number); break }
        :: atomic { REACHABLE && faults > 0 -> faults--; break }
#ifdef WRONG_WAITS_FOR_THE_SOCKET
        :: MUTED
#else
        :: MUTED -> break
#endif
        :: atomic { socket == gone -> forget(); due = 0; break }
#ifdef WRONG_GONE_WHILE_CONNECTING
        :: atomic { socket == connecting -> forget(); due = 0; break }
#else
        :: socket == connecting -> break
#endif
        FAULT
        fi
    od;
    number = 0;
    if
    :: due == 0 || due == STRAY
    :: atomic { (due == 0 || due == STRAY) && faults > 0 -> faults--; complete = false } /* another subscriber's */
    :: due != 0 && due != STRAY ->
        if
        :: atomic { take_back(due); its_generation = generation; due = STRAY }
        :: atomic { faults > 0 -> faults--; complete = false }
        :: atomic { faults > 0 -> faults--; late = due; complete = false }
        FAULT
        fi
    fi;
    ask();
    lagging = !complete
}

inline ask() {
    if
    :: due != STRAY
    :: due == STRAY ->
        if
        :: atomic { request(its_generation); due = 0 }
        :: atomic { faults > 0 -> faults-- }
        FAULT
        fi
    fi
}

/* Publisher.finish */
inline finish() {
    if :: lagging -> post() :: else fi;
    complete = true;
    turn();
#ifndef WRONG_STRAYS_FORGOTTEN
    ask();
    lagging = lagging || !complete || due == STRAY
#else
    lagging = lagging || !complete
#endif
}

proctype Publisher(byte me) {
    byte known;          /* the last event of the entry, as read or written last */
    bool crowd;          /* its `crowded` */
    bool lagging;        /* its `behind` */
    byte due;            /* the first event to post; 0: none */
    byte its_generation;
    byte number;
    bool complete;
    bool interrupted;

idle:
    atomic { known = 0; crowd = false; lagging = false; due = 0; its_generation = 0; number = 0; complete = false };
end:
    if
    :: closed -> goto done
    :: atomic { !closed && ((owner == 0 && me == 1) || run_out) -> /* Journal.claim */
        interrupted = (owner != 0);
        owner = me; run_out = false; orphaned = false;
        known = sequence; crowd = crowded; lagging = behind;
        if :: page == 0 -> look() :: else fi }
    fi;
#ifndef WRONG_NOT_POSTED_AGAIN
    if :: interrupted -> interrupted = false; post() :: else fi;
#else
    interrupted = false;
#endif
    do
    :: known == LAST -> break
    :: known < LAST ->
        if
        :: atomic { owner == me -> /* Journal.append */
            sequence++; behind = lagging;
            known = sequence; crowd = crowded;
            due = 0; if :: page == 0 -> look() :: else fi }
        :: owner != me -> goto idle /* LeaseLost */
        :: atomic { faults > 0 -> faults--; goto release } /* a retry: another delivery goes on */
        FAULT
        fi;
        post()
    od;
    finish();
release:
    if
    :: atomic { owner == me -> /* Journal.release */
        owner = 0; run_out = false;
        behind = lagging;
#ifdef WRONG_CLOSED_WHILE_BEHIND
        closed = (known == LAST) }
#else
        closed = (known == LAST && !lagging) }
#endif
    :: owner != me
    FAULT
    fi;
    goto idle;
crashed:
    atomic { interrupted = false; if :: owner == me -> orphaned = true :: else fi; goto idle }
done:
    skip
}

#define UNMOVED (page == 0 -> sequence == known : turned <= known)

proctype Notify() {
    byte asked;          /* the generation that it was asked for */
    byte meant;          /* the one that it serves */
    byte through;        /* what it has posted */
    byte known;          /* the order's last event */

idle:
    atomic { asked = 0; meant = 0; through = 0; known = 0 };
end:
    atomic { wanted > 0 -> asked = wanted; wanted = 0 };
again:
    known = sequence; /* Journal.read, then Subscribers.read */
    atomic {
        if
        :: !kept || live -> goto idle
#ifdef WRONG_OTHER_GENERATION_LEFT
        :: kept && !live && generation != asked -> goto idle
#endif
        :: else
        fi;
        if :: meant != generation -> meant = generation; through = sent_through :: else fi
    };
    do
    :: through >= known -> break
    :: through < known ->
        if
        :: atomic { REACHABLE -> through++; arrive(through) } /* while it connects, notify tries on */
        :: MUTED -> goto idle
        :: atomic { socket == gone -> forget(); goto idle }
        FAULT
        fi
    od;
    if /* Subscribers.hand_over */
#ifdef WRONG_HANDOVER_UNCONDITIONAL
    :: atomic { kept && generation == meant ->
#else
    :: atomic { kept && generation == meant && UNMOVED ->
#endif
        live = true; live_after = known; sent_through = known; goto idle }
    :: atomic { !(kept && generation == meant && UNMOVED) -> through = known; goto again }
    FAULT
    fi;
crashed: /* the invocation is repeated */
    atomic { request(asked); goto idle }
}

proctype Client() {
    atomic { socket = connecting; if :: seen = sequence :: skip fi };

    /* Subscribers.join: on page 0 if there is room, else on page 1, which others may have opened before */
    if
    :: atomic { page = 0; kept = true; generation = 1; sent_through = seen }
    ::
#ifndef WRONG_CROWDED_AFTER_REQUEST
        crowded = true;
#endif
        atomic { page = 1; kept = true; generation = 1; sent_through = seen; if :: turned = 0 :: skip fi }
    fi;
    atomic { request(1) };
#ifdef WRONG_CROWDED_AFTER_REQUEST
    if :: page == 1 -> crowded = true :: else fi;
#endif
    socket = connected;
    if
    :: skip              /* it stays */
    :: socket = gone;
       if
       :: atomic { forget() }
       :: skip           /* $disconnect is not delivered */
       fi
    fi
}

proctype Clock() {
end:
    do
    :: atomic { owner != 0 && !run_out && orphaned -> run_out = true }
    :: atomic { owner != 0 && !run_out && !orphaned && faults > 0 -> faults--; run_out = true }
    :: atomic { late > 0 -> take_back(late); late = 0 }
    od
}

init {
    atomic {
        if :: crowded = true :: skip fi; /* by others */
        run Publisher(1);
        if :: PUBLISHERS == 2 -> run Publisher(2) :: else fi;
        run Notify();
        if :: NOTIFIERS == 2 -> run Notify() :: else fi;
        run Client();
        run Clock()
    };
#ifndef MUTE
    /* Where nothing more happens: */
    timeout -> assert(SETTLED) /* every status seen */
#endif
}

/* And nothing goes on for ever: in the end the order is closed, and every status was seen. */
ltl all_seen { <>[] SETTLED }

/* With -DMUTE: a socket that is never reached does not hold the order up. */
ltl not_held_up { <>[] closed }
