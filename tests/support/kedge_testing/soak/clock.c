/* Shifts CLOCK_REALTIME of one process by the nanoseconds that the file SOAK_CLOCK holds, while it runs: what a clock
   that is set looks like to it. Loaded by LD_PRELOAD. Deadlines on that clock are shifted back for the kernel. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define EPOCH 1000000000 /* a deadline of more seconds is on the real-time clock, of fewer on one that began at boot */

static const volatile int64_t *shift;
static int (*next_gettime)(clockid_t, struct timespec *);
static int (*next_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
static long (*next_syscall)(long, ...);

__attribute__((constructor)) static void prepare(void) {
  next_gettime = dlsym(RTLD_NEXT, "clock_gettime");
  next_timedwait = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
  if (next_timedwait == NULL) next_timedwait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
  next_syscall = dlsym(RTLD_NEXT, "syscall");
  const char *path = getenv("SOAK_CLOCK");
  int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  void *place = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
  if (place != MAP_FAILED) shift = place;
  close(file);
}

static void move(struct timespec *time, int64_t nanoseconds) {
  int64_t total = time->tv_sec * SECOND + time->tv_nsec + nanoseconds;
  time->tv_sec = total / SECOND;
  time->tv_nsec = total % SECOND;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  if (next_gettime == NULL) prepare(); /* another library's constructor may come first */
  int result = next_gettime(clock, time);
  if (result == 0 && shift != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) move(time, *shift);
  return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  (void)zone;
  struct timespec now;
  int result = clock_gettime(CLOCK_REALTIME, &now);
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return result;
}

time_t time(time_t *place) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (place != NULL) *place = now.tv_sec;
  return now.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *deadline) {
  struct timespec real = *deadline;
  if (shift != NULL && real.tv_sec > EPOCH) move(&real, -*shift);
  return next_timedwait(cond, mutex, &real);
}

long syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  long a[6];
  for (int i = 0; i < 6; ++i) a[i] = va_arg(list, long);
  va_end(list);
  struct timespec real;
  if (number == SYS_futex && shift != NULL && a[3] != 0 && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET &&
      (a[1] & FUTEX_CLOCK_REALTIME)) {
    real = *(const struct timespec *)a[3];
    move(&real, -*shift);
    a[3] = (long)&real;
  }
  return next_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
