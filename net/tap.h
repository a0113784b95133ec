// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "net/base/result.h"
#include "net/base/unique_fd.h"
#include "net/frame_io.h"
#include "net/frame_port.h"

namespace tapir::net {

/// What the operator said about a tap.
struct TapOptions {
  /// Whether frames carry the 12-byte vnet header, without which there are no offloads. Unset: when the
  /// kernel has it; of an adopted descriptor, as it was made.
  std::optional<bool> vnet_header = std::nullopt;
};

/// One queue of a tap interface: its descriptor, set up for an engine. Frames without packet information
/// (IFF_NO_PI), a vnet header of 12 bytes if any, O_NONBLOCK (without it io_uring would use worker threads
/// and reorder frames), all offloads off until a driver asks for them, TUNSETSNDBUF never touched (the
/// default never blocks a sender).
///
/// Any thread, one at a time. Opened before the sandbox closes; then its descriptor goes to an engine:
///
///     TAPIR_TRY_ASSIGN(Tap tap, Tap::open("tap0", {}));
///     auto io = make_frame_io(std::move(tap).into_port(), EngineChoice::kAuto);
///
/// Source: Documentation/networking/tuntap.rst, drivers/net/tun.c.
class Tap {
 public:
  /// Attaches to the tap `name` if it exists: a persistent one of this user, single- or multi-queue, that is
  /// up. Else creates it, which takes CAP_NET_ADMIN, and brings it up; that one vanishes with the last
  /// descriptor. Errors: everything an operator can get wrong, each with its remedy.
  [[nodiscard]] static Result<Tap> open(const std::string& name, const TapOptions& options);

  /// Takes over a descriptor of a tap that came from somebody with more privilege. On success it is owned,
  /// close-on-exec and non-blocking; on failure it stays the caller's. Its interface may be down (a warning
  /// is printed) or in another network namespace (its MTU is then unknown).
  [[nodiscard]] static Result<Tap> adopt(int fd, const TapOptions& options);

  /// The same of a descriptor that the operator named by its number and this process must have inherited. All
  /// that it opened itself are close-on-exec, which an inherited one cannot be: to the operator they do not
  /// exist.
  [[nodiscard]] static Result<Tap> adopt_inherited(int fd, const TapOptions& options);

  const std::string& name() const { return name_; }
  const FrameIoFeatures& features() const { return features_; }
  int fd() const { return fd_.get(); }
  /// Whether open() created the interface.
  bool created() const { return created_; }

  /// Detaches another queue of a multi-queue tap, on the borrowed descriptor `fd`: from then on the kernel
  /// puts no frame into it, which would be lost where nobody reads. What waits in it is dropped. The
  /// descriptor stays a queue of the tap, and TUNSETQUEUE can attach it again. Error: it is none, or detached
  /// already.
  [[nodiscard]] static Status detach_queue(int fd);

  /// Hands the descriptor to an engine.
  FramePort into_port() &&;

 private:
  Tap(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  [[nodiscard]] Status set_up(bool vnet_header);

  UniqueFd fd_;
  std::string name_;
  FrameIoFeatures features_;
  bool created_ = false;
};

}  // namespace tapir::net
