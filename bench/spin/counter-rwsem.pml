/*
 * src/locking/counter-rwsem.ts with the private mutex, written down for SPIN: one transition for
 * each operation on shared memory, in the source's order. Nobody dies.
 *
 *     spin -DREADERS=3 -DWRITERS=2 -a counter-rwsem.pml
 *
 * A branch that follows from an operation's result is part of its transition. To have as few states
 * as can be: operations on words that nobody changes (who is alive, the data) are left out, values
 * that are not looked at again are set to 0, and a thread that is done stands before `false`, so
 * that its end is no transition.
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

/* Who sleeps: on mutexes, then on each thread's state. */
#define TASK(t) (1 + (t))
chan sleepers[2 + THREADS] = [THREADS] of { byte };
bit asleep[THREADS + 1];

byte readers_inside, writers_inside;

#define NOTHING skip
#define SLEEP(queue) sleepers[queue]!me; asleep[me] = 1
#define WAKE(queue) \
  if :: sleepers[queue]?c -> asleep[c] = 0; c = 0 :: empty(sleepers[queue]) fi

/* `leave` belongs to the first transition, `enter` to the last. */
#define LOCK(x, p, leave) \
  atomic { \
    !asleep[me] -> \
    leave; \
    if :: mutex[x] == 0 -> mutex[x] = me << 1; goto p##_in :: else fi \
  }; /* L1 */ \
p##_top: atomic { \
    !asleep[me] -> \
    w = mutex[x]; \
    if :: w == 0 -> goto p##_free :: w & 1 -> goto p##_wait :: else fi \
  }; \
  atomic { \
    if :: mutex[x] == w -> w = w | 1; mutex[x] = w :: else -> w = 0; goto p##_top fi \
  }; /* L4 */ \
p##_wait: atomic { if :: mutex[x] == w -> SLEEP(x) :: else fi; w = 0; goto p##_top }; \
p##_free: atomic { if :: mutex[x] == 0 -> mutex[x] = me << 1 | 1 :: else -> goto p##_top fi }; /* L2 */ \
p##_in:

#define UNLOCK(x, p, enter) \
  atomic { if :: mutex[x] == me << 1 -> mutex[x] = 0; enter; goto p##_out :: else fi }; /* U1 */ \
  mutex[x] = 0; /* U2 */ \
  atomic { WAKE(x); enter }; \
p##_out:

#define READER_ENTERS readers_inside++; assert(writers_inside == 0)
#define WRITER_ENTERS writers_inside++; assert(writers_inside == 1 && readers_inside == 0)

proctype reader(byte me) {
  byte c, w;

  LOCK(INNER, g2, NOTHING)
  holds[me] = 1;
  refcount++; /* G3 */
  active_writer >= 0;
  UNLOCK(INNER, g4, READER_ENTERS)
  LOCK(INNER, p2, readers_inside--)
  holds[me] = 0;
  atomic { refcount--; if :: refcount > 0 -> goto p5 :: else fi }; /* P4 */
  atomic { w = active_writer; if :: w == 0 -> goto p5 :: else fi };
  state[w] = 0;
  atomic { WAKE(TASK(w)); w = 0 };
p5: UNLOCK(INNER, p5, NOTHING)
end: false
}

/* The next slot of a recount. */
#define NEXT i++; if :: i > THREADS -> i = 1; goto store :: else -> goto recount fi

proctype writer(byte me) {
  byte c, w, i = 1, sum;

  LOCK(PRIVATE, b0, NOTHING)
  active_writer >= 0;
  active_writer = me; /* B1 */
again:
  LOCK(INNER, b2, NOTHING)
  atomic { if :: refcount == 0 -> WRITER_ENTERS; goto inside :: else fi }; /* B3 */
  state[me] = 1; /* B4 */
recount:
  atomic { sum = sum + holds[i]; NEXT };
store:
  atomic { refcount = sum; sum = 0 };
  UNLOCK(INNER, b5, NOTHING)
  atomic { if :: state[me] == 1 -> SLEEP(TASK(me)) :: else fi; goto again }; /* B6 */
inside:
  atomic { active_writer = 0; writers_inside-- }; /* D1 */
  UNLOCK(INNER, d2, NOTHING)
  UNLOCK(PRIVATE, d3, NOTHING)
end: false
}

init {
  atomic {
    byte n = 1;
    do
    :: n <= READERS -> run reader(n); n++
    :: n > READERS && n <= THREADS -> run writer(n); n++
    :: else -> break
    od
  }
}
