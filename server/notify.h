/* notify.h - tells systemd how it goes (sd_notify(3), by hand: one datagram to $NOTIFY_SOCKET).  Nothing happens without it. */
#ifndef SERVER_NOTIFY_H
#define SERVER_NOTIFY_H
void notify_ready(void);
void notify_stopping(void);
#endif
