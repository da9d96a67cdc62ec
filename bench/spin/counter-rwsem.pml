/*
 * src/locking/counter-rwsem.ts with the private mutex, written down for SPIN: one transition for
 * each operation on shared memory, in the source's order. Nobody dies.
 *
 *     spin -DREADERS=3 -DWRITERS=2 -a counter-rwsem.pml
 *
 * A branch that follows from an operation's result is part of its transition. Values that are not
 * looked at again are set to 0, so that they tell no states apart. A thread that is done stands
 * before `false`: its end is no transition.
 */
#ifndef READERS
#define READERS 3
#endif
#ifndef WRITERS
#define WRITERS 2
#endif
#define THREADS (READERS + WRITERS)

/* Mutexes: owner << 1 | WAITERS. Threads are numbered from 1. */
#define INNER 0
#define PRIVATE 1
byte mutex[2];

byte active_writer;
byte refcount;
bit state[THREADS + 1]; /* 1: uninterruptible */
byte holds[THREADS + 1];
bit alive[THREADS + 1];

/* Who sleeps: on mutexes, then on each thread's state. */
#define TASK(t) (1 + (t))
chan sleepers[2 + THREADS] = [THREADS] of { byte };
bit asleep[THREADS + 1];

byte readers_inside, writers_inside;

#define SLEEP(queue) sleepers[queue]!me; asleep[me] = 1
#define NOTIFY(queue) \
  atomic { if :: sleepers[queue]?c -> asleep[c] = 0; c = 0 :: empty(sleepers[queue]) fi }

#define LOCK(x, p) \
  atomic { !asleep[me] -> if :: mutex[x] == 0 -> mutex[x] = me << 1; goto p##_in :: else fi }; /* L1 */ \
  mutex[x] >= 0; /* is it mine? */ \
p##_top: atomic { !asleep[me] -> w = mutex[x]; if :: w == 0 -> goto p##_free :: else fi }; \
  atomic { alive[w >> 1] -> if :: w & 1 -> goto p##_wait :: else fi }; \
  atomic { if :: mutex[x] == w -> w = w | 1; mutex[x] = w :: else -> w = 0; goto p##_top fi }; /* L4 */ \
p##_wait: atomic { if :: mutex[x] == w -> SLEEP(x) :: else fi; w = 0; goto p##_top }; \
p##_free: atomic { if :: mutex[x] == 0 -> mutex[x] = me << 1 | 1 :: else -> goto p##_top fi }; /* L2 */ \
p##_in:

#define UNLOCK(x, p) \
  atomic { if :: mutex[x] == me << 1 -> mutex[x] = 0; goto p##_out :: else fi }; /* U1 */ \
  mutex[x] = 0; /* U2 */ \
  NOTIFY(x); \
p##_out:

#define ENTER writers_inside++; assert(writers_inside == 1 && readers_inside == 0)
/* The next slot of a recount. */
#define NEXT i++; if :: i > THREADS -> i = 1; goto store :: else -> goto recount fi

/* As UNLOCK; `enter` belongs to its last transition. */
#define UNLOCK_AND(x, p, enter) \
  atomic { if :: mutex[x] == me << 1 -> mutex[x] = 0; enter; goto p##_out :: else fi }; \
  mutex[x] = 0; \
  atomic { \
    if :: sleepers[x]?c -> asleep[c] = 0; c = 0 :: empty(sleepers[x]) fi; \
    enter \
  }; \
p##_out:

proctype reader(byte me) {
  byte c, w;

  active_writer >= 0; /* G1 */
  LOCK(INNER, g2)
  holds[me] = 1;
  refcount++; /* G3 */
  atomic { w = active_writer; if :: w == 0 -> goto g4 :: else fi };
  atomic { alive[w] -> w = 0 };
g4: UNLOCK_AND(INNER, g4, readers_inside++; assert(writers_inside == 0))
  atomic { active_writer >= 0; readers_inside-- }; /* P1 */
  LOCK(INNER, p2)
  refcount > 0; /* P3 */
  holds[me] = 0;
  atomic { refcount--; if :: refcount > 0 -> goto p5 :: else fi }; /* P4 */
  atomic { w = active_writer; if :: w == 0 -> goto p5 :: else fi };
  state[w] = 0;
  atomic {
    if :: sleepers[TASK(w)]?c -> asleep[c] = 0; c = 0 :: empty(sleepers[TASK(w)]) fi;
    w = 0
  };
p5: UNLOCK(INNER, p5)
end: false
}

proctype writer(byte me) {
  byte c, w, i = 1, sum;

  LOCK(PRIVATE, b0)
  active_writer >= 0;
  active_writer = me; /* B1 */
again: LOCK(INNER, b2)
  atomic { if :: refcount == 0 -> ENTER; goto inside :: else fi }; /* B3 */
  state[me] = 1; /* B4 */
recount:
  atomic { if :: holds[i] > 0 -> goto living :: else -> NEXT fi };
living:
  atomic { alive[i] -> sum = sum + holds[i]; NEXT };
store: atomic { refcount = sum; sum = 0 };
  UNLOCK(INNER, b5)
  atomic { if :: state[me] == 1 -> SLEEP(TASK(me)) :: else fi; goto again }; /* B6 */
inside:
  atomic { active_writer = 0; writers_inside-- }; /* D1 */
  UNLOCK(INNER, d2)
  UNLOCK(PRIVATE, d3)
end: false
}

init {
  atomic {
    byte n = 1;
    do :: n <= THREADS -> alive[n] = 1; n++ :: else -> break od;
    n = 1;
    do
    :: n <= READERS -> run reader(n); n++
    :: n > READERS && n <= THREADS -> run writer(n); n++
    :: else -> break
    od
  }
}
