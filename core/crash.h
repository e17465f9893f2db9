/* Named places at which a test can make the process die, as if by kill -9: POSTERN_STOP_AT=NAME[:N] in the environment, N for
 * the n-th time (default 1). NAME+ dies only after the messages of that turn of the loop have left. Nothing of this is
 * in a build without --enable-crash-points. Any thread. */
#ifndef CORE_CRASH_H
#define CORE_CRASH_H

#ifdef POSTERN_CRASH_POINTS
void crash_point(const char *name);
void crash_flushed(void); /* the messages have left */
#define CRASH_POINT(name) crash_point(name)
#define CRASH_FLUSHED() crash_flushed()
#else
#define CRASH_POINT(name) ((void)0)
#define CRASH_FLUSHED() ((void)0)
#endif

#endif
