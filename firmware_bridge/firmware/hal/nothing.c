/* For boards without converters: the sources that need one link, and find nothing.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "hal.h"

void hal_ads_reset(void)
{
}

void hal_ads_transfer(const uint8_t *out, uint8_t *in, uint32_t count)
{
    (void)out;
    (void)in;
    (void)count;
}

uint32_t hal_ads_conversions(void)
{
    return 0U;
}

uint16_t hal_adc_read(uint32_t channel)
{
    (void)channel;
    return 0U;
}
