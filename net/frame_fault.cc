// SPDX-License-Identifier: Apache-2.0
#include "net/frame_fault.h"

#include <cerrno>

namespace tapir::net {
namespace {

bool is_gone(int error) {
  switch (error) {
    case EBADFD:  // the tap was deleted
    case EBADF:
    case EPIPE:  // these of a socket whose other end was closed
    case ECONNRESET:
    case ECONNREFUSED:
    case ENOTCONN:
      return true;
    default:
      return false;
  }
}

}  // namespace

ReceiveFault classify_receive_error(int error) {
  switch (error) {
    case EAGAIN:
      return ReceiveFault::kWait;
    case EINTR:
      return ReceiveFault::kRetry;
    case EINVAL:  // a tap eats the frame when the space is shorter than the vnet header
    case EFAULT:  // and when the space is not there; also the answer to a read that a deletion interrupts
      return ReceiveFault::kDropAndPause;
    default:
      // ENOBUFS, ENOMEM: no memory for now. EIO: the link is down. What is not known is treated as that. All
      // leave the frame where it is, and the pause keeps a backend that says "readable" all the while from a
      // spin.
      return is_gone(error) ? ReceiveFault::kGone : ReceiveFault::kPause;
  }
}

TransmitFault classify_transmit_error(int error) {
  switch (error) {
    case EAGAIN:
      return TransmitFault::kWait;
    case EINTR:
      return TransmitFault::kRetry;
    default:
      // EINVAL: a vnet header that the kernel refuses. EIO: the link is down. ENOBUFS, ENOMEM: no memory for
      // this one. EFAULT: a piece that is not there.
      return is_gone(error) ? TransmitFault::kGone : TransmitFault::kDrop;
  }
}

bool is_deleted_interface(int error) {
  return error == EBADFD || error == ENOLINK;
}

FrameErrorClass class_of_error(int error) {
  switch (error) {
    case EAGAIN:
    case EINTR:
      return FrameErrorClass::kBusy;
    case EINVAL:
      return FrameErrorClass::kInvalid;
    case EFAULT:
      return FrameErrorClass::kFault;
    case EIO:
      return FrameErrorClass::kLinkDown;
    case ENOBUFS:
    case ENOMEM:
      return FrameErrorClass::kNoMemory;
    case EMSGSIZE:  // a socket's word for a frame that is too long
      return FrameErrorClass::kTooLong;
    default:
      return is_gone(error) ? FrameErrorClass::kGone : FrameErrorClass::kOther;
  }
}

}  // namespace tapir::net
