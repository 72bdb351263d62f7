/* SPDX-License-Identifier: Apache-2.0 */
#include "place.h"

void place_put_number(uint32_t number)
{
    char digits[11];
    uint32_t at = sizeof(digits) - 1U;
    uint32_t rest = number;
    digits[at] = '\0';
    do {
        at--;
        digits[at] = (char)('0' + (char)(rest % 10U));
        rest /= 10U;
    } while (rest != 0U);
    place_put(&digits[at]);
}
