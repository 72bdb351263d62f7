/* SPDX-License-Identifier: Apache-2.0 */
#include "core/device.h"
#include "hal/hal.h"

int main(void)
{
    hal_init();
    device_begin();
    for (;;) {
        device_step();
        hal_wait();
    }
}
