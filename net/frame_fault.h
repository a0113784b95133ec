// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "net/frame_counters.h"

namespace tapir::net {

/// What to do when a read or write of a frame fails: the one table of all engines. A failure is the loss of a
/// frame at most, never of the device, except when the backend no longer exists.
///
/// Sources: drivers/net/tun.c (tun_do_read, tun_get_user), tried out on 6.18; read(2), write(2), unix(7).

enum class ReceiveFault : std::uint8_t {
  kRetry,         ///< do the same again
  kWait,          ///< nothing there: wait until the backend is readable
  kPause,         ///< the host is short of something: wait kReceivePause, whatever the backend says
  kDropAndPause,  ///< a frame was lost, and the next read may fail alike: count it, then as kPause
  kGone,          ///< the backend no longer exists
};

enum class TransmitFault : std::uint8_t {
  kRetry,  ///< do the same again
  kWait,   ///< the backend is full: keep the frame until it is writable
  kDrop,   ///< give up this frame and go on with the next
  kGone,   ///< the backend no longer exists: drop this frame and all later ones
};

/// `error`: the errno, or the negated result of a completion.
ReceiveFault classify_receive_error(int error);
TransmitFault classify_transmit_error(int error);

/// Under which class it is counted; kOther for an errno that the table does not name.
FrameErrorClass class_of_error(int error);

/// Whether a request to a tap (EBADFD) or macvtap (ENOLINK) failed because its interface was deleted.
bool is_deleted_interface(int error);

}  // namespace tapir::net
