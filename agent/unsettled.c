/* What the scripts of the live image say of its drivers, in /run/hoist: `settled` when they are done with the hardware (coldplug), `unsettled` when
 * the agent was started without waiting for that any longer (agent).  Elsewhere there is neither. */
#include "agent/machine.h"

bool hardware_is_settled(const struct sysroot *r)
{
	return sysroot_exists(r, "run/hoist/settled");
}

bool unsettled_read(const struct sysroot *r, struct warnings *w)
{
	char text[WARNING_SIZE];

	if (hardware_is_settled(r) || !sysroot_text(r, text, sizeof(text), "run/hoist/unsettled"))
		return false;
	warnings_add(w, "%s", text);
	return true;
}
