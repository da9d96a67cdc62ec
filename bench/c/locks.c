/*
 * What the locks of C cost on this machine: `locks rwlock|mutex THREADS PAIRS` takes and releases
 * one lock PAIRS times in each of THREADS threads, and prints the nanoseconds from the first
 * thread's beginning to the last one's end.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS_MAX = 64 };

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t start;
static long pairs;

static void *read_pairs(void *unused) {
  pthread_barrier_wait(&start);
  for (long i = 0; i < pairs; i++) {
    pthread_rwlock_rdlock(&rwlock);
    pthread_rwlock_unlock(&rwlock);
  }
  return unused;
}

static void *mutex_pairs(void *unused) {
  pthread_barrier_wait(&start);
  for (long i = 0; i < pairs; i++) {
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
  }
  return unused;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e9 + time.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc != 4) return fprintf(stderr, "usage: locks rwlock|mutex THREADS PAIRS\n"), 2;
  void *(*run)(void *) = strcmp(argv[1], "rwlock") == 0 ? read_pairs : mutex_pairs;
  int threads = atoi(argv[2]);
  pairs = atol(argv[3]);
  if (threads < 1 || threads > THREADS_MAX || pairs < 1) return 2;

  pthread_t ids[THREADS_MAX];
  pthread_barrier_init(&start, NULL, threads + 1);
  for (int i = 0; i < threads; i++) pthread_create(&ids[i], NULL, run, NULL);
  double begin = now();
  pthread_barrier_wait(&start);
  for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
  printf("%.0f\n", now() - begin);
  return 0;
}
