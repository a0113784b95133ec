// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <poll.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "net/base/event_fd.h"
#include "net/base/result.h"
#include "net/frame_io.h"
#include "net/frame_port.h"
#include "net/vnet_header.h"

namespace tapir::net {

/// Joins any number of taps and NICs: every frame that comes in at one port goes out at all others. It knows
/// no addresses, like the thing that it is called after.
///
///     TAPIR_TRY_ASSIGN(auto hub, Hub::create("hub0", std::move(taps), 2));
///     … an engine on each of hub->take_nic_ports()
///     TAPIR_TRY(hub->start());
///
/// A NIC's port is one end of a socket pair that keeps frames apart. So what waits for a slow NIC is bounded
/// by the socket's buffer, and a NIC that sends faster than the hub forwards waits as on a full tap. A port
/// that takes a frame no more when it comes loses that one, and the others do not wait for it.
///
/// Offloads: a frame goes to all ports, so it may only be left for the receiver to cut or to check if every
/// port can have that. A tap can, if it has a vnet header; a NIC says so only later, when its driver has
/// started, and then its word is passed on to the taps (set_offloads()). So a hub of one NIC and of taps with
/// vnet headers carries what all of the taps can do; any other hub carries no offloads.
///
/// Threads: a thread of its own forwards, from start() to destruction. set_offloads() and counters(): any
/// thread. Everything else: one thread, before start().
class Hub {
 public:
  /// Of one port, since the hub was made.
  struct Counters {
    std::uint64_t received = 0;  ///< frames that came in at the port
    std::uint64_t sent = 0;      ///< frames that went out at it
    std::uint64_t dropped = 0;   ///< frames that came in unusable, or that it did not take
  };

  /// `name`: for messages and as the name of the thread (up to 15 bytes of it). `taps`: one after another
  /// ports 0, 1, …; the NICs' follow. Error: the host's limit of descriptors.
  [[nodiscard]] static Result<std::unique_ptr<Hub>> create(std::string name, std::vector<FramePort> taps,
                                                           std::size_t nics);
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;
  ~Hub();

  /// The NICs' ends, in order; once.
  std::vector<FramePort> take_nic_ports() { return std::move(nic_ports_); }
  [[nodiscard]] Status start();

  /// How frames may reach the one NIC: bits of the features of its port. Error: a tap refuses them.
  [[nodiscard]] Status set_offloads(unsigned tun_offloads);

  Counters counters(std::size_t port) const;
  /// How often the thread has slept.
  std::uint64_t waits() const { return waits_.load(std::memory_order_relaxed); }

 private:
  /// So many frames of a port before it is another's turn.
  static constexpr unsigned kBatch = 64;
  /// A read that fills its space may have been cut, so there is one byte more than any frame has.
  static constexpr std::size_t kBufferBytes = kMaxReceiveBytes + 1;

  struct Port {
    UniqueFd fd;
    bool vnet_header = false;
    bool tap = false;
    bool gone = false;
    bool paused = false;  ///< not to be read until the next wait is over
    std::atomic<std::uint64_t> received{0};
    std::atomic<std::uint64_t> sent{0};
    std::atomic<std::uint64_t> dropped{0};
  };

  explicit Hub(std::string name, EventFd stop) : name_(std::move(name)), stop_(std::move(stop)) {}
  [[nodiscard]] Status add_nic(const FrameIoFeatures& features);
  void run();
  void wait();
  void drain(std::size_t from);
  /// The bytes of the next frame without its vnet header, which is in the buffer before it; 0: it was
  /// dropped; nothing: there is none.
  std::optional<std::size_t> receive(Port& port);
  void send(Port& port, std::size_t bytes);
  void mark_gone(Port& port);

  const std::string name_;
  const EventFd stop_;
  bool carries_offloads_ = false;
  std::vector<std::unique_ptr<Port>> ports_;  ///< pointers, because counters stay where they are
  std::vector<FramePort> nic_ports_;

  // Of the thread.
  std::array<std::byte, kBufferBytes>
      buffer_{};                  ///< a vnet header, whether the port has one or not, and the frame
  std::vector<pollfd> poll_set_;  ///< the stop event, then the ports
  std::atomic<std::uint64_t> waits_{0};

  std::thread thread_;
};

/// The engine of a NIC on a hub that carries offloads: as the engine within, but what the driver can take is
/// for the hub's taps to know.
class HubFrameIo final : public FrameIo {
 public:
  /// `hub` is borrowed and outlives it.
  HubFrameIo(std::unique_ptr<FrameIo> engine, Hub& hub) : engine_(std::move(engine)), hub_(hub) {}

  const FrameIoFeatures& features() const override { return engine_->features(); }
  [[nodiscard]] Status set_offloads(unsigned tun_offloads) override;
  [[nodiscard]] Status attach_queue(bool attached) override { return engine_->attach_queue(attached); }
  [[nodiscard]] Status start() override { return engine_->start(); }
  void stop() override { engine_->stop(); }
  [[nodiscard]] Result<unsigned> watch(int event_fd) override { return engine_->watch(event_fd); }
  void unwatch(unsigned bit) override { engine_->unwatch(bit); }
  void want_receive(bool wanted) override { engine_->want_receive(wanted); }
  WaitResult wait(std::optional<Clock::time_point> deadline) override { return engine_->wait(deadline); }
  std::size_t transmit(std::span<TransmitFrame> frames) override { return engine_->transmit(frames); }
  ReceiveEnd receive(ReceiveSink& sink, Budget budget) override { return engine_->receive(sink, budget); }
  void discard_received() override { engine_->discard_received(); }
  const FrameIoCounters& counters() const override { return engine_->counters(); }

 private:
  const std::unique_ptr<FrameIo> engine_;
  Hub& hub_;
};

}  // namespace tapir::net
