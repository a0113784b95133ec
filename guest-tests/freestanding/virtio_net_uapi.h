// SPDX-License-Identifier: Apache-2.0
#pragma once

// <linux/virtio_net.h> has a member named `class`, a word that C++ keeps for itself. The headers that it
// includes come first, so that the macro touches nothing else.
#include <linux/if_ether.h>
#include <linux/types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_types.h>

#ifdef __clang__
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wkeyword-macro"
#endif
#define class device_class
#include <linux/virtio_net.h>
#undef class
#ifdef __clang__
#pragma clang diagnostic pop
#endif
