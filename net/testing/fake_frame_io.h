// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "net/base/event_fd.h"
#include "net/frame_io.h"

namespace tapir::net::testing {

/// A FrameIo without a kernel behind it, for tests of the devices above: frames are injected and what was
/// sent is looked at, and it can be full, refuse frames, or go away. It follows the contract of the real
/// engines, the sleep in wait() included, so that a device's own I/O thread can run on it.
///
/// The members of this class may be called from any thread (the test's); those of FrameIo as that one says.
///
///     FakeFrameIo io;
///     io.inject(frame);             // the device finds it in its next receive()
///     … run the device …
///     EXPECT_EQ(io.take_sent(), …);
class FakeFrameIo : public FrameIo {
 public:
  using Frame = std::vector<std::byte>;

  /// With a vnet header, every offload (USO included) and an MTU of 1500.
  FakeFrameIo();
  explicit FakeFrameIo(const FrameIoFeatures& features);

  /// Queues a frame for receive(), the vnet header first if there is one. Wakes wait().
  void inject(Frame frame);
  /// Frames injected and neither received, dropped nor discarded yet.
  std::size_t queued() const;

  /// The frames sent since the last call, in order.
  std::vector<Frame> take_sent();
  /// Sleeps until `count` frames wait for take_sent(), at most for `limit`; whether they do.
  bool wait_for_sent(std::size_t count, std::chrono::milliseconds limit = std::chrono::seconds(10)) const;

  /// How many more frames transmit() takes before it stops short; none: any number. Wakes wait().
  void set_transmit_room(std::optional<std::size_t> frames);
  /// The next `count` frames are dropped with this errno.
  void fail_transmits(int error, std::size_t count);
  /// set_offloads() fails from now on.
  void refuse_offloads();
  /// The backend is gone, as when somebody deletes the tap. Wakes wait().
  void remove();

  /// What set_offloads() was last called with; nothing if never.
  std::optional<unsigned> offloads() const;
  /// How often discard_received() was called.
  unsigned discards() const;
  bool receive_wanted() const;
  /// As attach_queue() left it; at first it is. Detaching drops what is queued, and so is what is injected
  /// later.
  bool queue_attached() const;
  /// attach_queue(true) fails from now on.
  void refuse_queue();
  bool started() const;

  const FrameIoFeatures& features() const override { return features_; }
  [[nodiscard]] Status set_offloads(unsigned tun_offloads) override;
  [[nodiscard]] Status attach_queue(bool attached) override;
  [[nodiscard]] Status start() override;
  void stop() override {}
  [[nodiscard]] Result<unsigned> watch(int event_fd) override;
  void unwatch(unsigned bit) override;
  void want_receive(bool wanted) override;
  WaitResult wait(std::optional<Clock::time_point> deadline) override;
  std::size_t transmit(std::span<TransmitFrame> frames) override;
  ReceiveEnd receive(ReceiveSink& sink, Budget budget) override;
  void discard_received() override;
  /// Read it when the I/O thread does not run.
  const FrameIoCounters& counters() const override { return counters_; }

 private:
  enum class Delivery : std::uint8_t { kDelivered, kDropped, kStarved };

  bool transmit_one(TransmitFrame& frame);
  Delivery deliver(ReceiveSink& sink, const Frame& frame);
  WaitResult backend_state();

  const FrameIoFeatures features_;
  EventFd wake_;
  std::array<int, 64> watched_;  ///< the I/O thread's, or before start()
  FrameIoCounters counters_;
  bool ask_for_any_frame_ = false;

  mutable std::mutex mutex_;  ///< guards all below
  mutable std::condition_variable sent_changed_;
  std::deque<Frame> to_receive_;
  std::vector<Frame> sent_;
  std::optional<std::size_t> transmit_room_;
  int transmit_error_ = 0;
  std::size_t transmit_errors_left_ = 0;
  std::optional<unsigned> offloads_;
  unsigned discards_ = 0;
  bool offloads_refused_ = false;
  bool queue_attached_ = true;
  bool queue_refused_ = false;
  bool started_ = false;
  bool receive_wanted_ = false;
  bool starved_ = false;
  bool transmit_stopped_ = false;
  bool gone_ = false;
  bool gone_reported_ = false;
};

}  // namespace tapir::net::testing
