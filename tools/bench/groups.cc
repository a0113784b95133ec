// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "net/offload.h"
#include "tools/bench/guest_case.h"
#include "tools/bench/latency_case.h"
#include "tools/bench/stream_case.h"

namespace tapir::bench {
namespace {

using Call = RawMethod::Call;
using Direction = Subject::Direction;

constexpr std::size_t kSmallFrameBytes = 1526;
constexpr std::size_t kWholeFrameBytes = 65568;  // kMaxReceiveBytes, and a multiple of a cache line

/// No more frames than 256 receive buffers hold while there is still room for any frame: a driver in a guest
/// gives buffers back while the device works, which this one cannot.
unsigned receive_backlog(const Subject& subject) {
  const std::size_t buffer = subject.device.shape.receive_buffer_bytes;
  const auto buffers_for = [buffer](std::size_t bytes) { return (bytes + buffer - 1) / buffer; };
  const std::size_t spare = subject.mix.largest() > buffer ? buffers_for(net::kMaxReceiveBytes + 1) : 0;
  const std::size_t fit = (FrameSlots::kSlots - spare) / buffers_for(subject.mix.largest());
  return static_cast<unsigned>(std::clamp<std::size_t>(fit, 1, subject.backlog));
}

Traffic traffic_of(const Subject& subject) {
  Traffic traffic;
  traffic.transmit = subject.direction != Direction::kReceive;
  traffic.receive = subject.direction != Direction::kTransmit;
  traffic.mix = subject.mix;
  traffic.backlog = subject.backlog;
  traffic.receive_backlog = receive_backlog(subject);
  return traffic;
}

template <typename MakePath>
Result<std::unique_ptr<Case>> path_case(const Subject& subject, MakePath make_path) {
  TAPIR_TRY_ASSIGN(TapEnd tap, TapEnd::create());
  TAPIR_TRY_ASSIGN(PacketEnd sender, PacketEnd::open(tap.name(), PacketEnd::Use::kSend));
  TAPIR_TRY_ASSIGN(std::unique_ptr<Path> path, make_path(tap));
  return std::unique_ptr<Case>(
      std::make_unique<PathCase>(std::move(tap), std::move(sender), std::move(path), traffic_of(subject)));
}

/// One piece for a whole frame where the call has only one.
Shape shape_for(const RawMethod& method, const Subject& subject) {
  const bool vector = method.call == Call::kVector || method.call == Call::kUringVector;
  Shape shape = subject.device.shape;
  if (!vector) {
    shape.transmit_piece_bytes = 0;
    if (subject.mix.largest() > shape.receive_buffer_bytes) {
      shape.receive_buffer_bytes = kWholeFrameBytes;
    }
  }
  return shape;
}

CaseSpec raw_case(const Subject& subject, const RawMethod& method) {
  CaseSpec spec;
  const bool receives = subject.direction == Direction::kReceive;
  spec.name = method.name(!receives);
  if (subject.direction == Direction::kBoth) {
    RawMethod reading = method;
    spec.name += " and " + reading.name(false);
  }
  spec.may_be_missing = method.call >= Call::kUring;
  spec.make = [subject, method] {
    return path_case(subject, [&](TapEnd& tap) -> Result<std::unique_ptr<Path>> {
      TAPIR_TRY(tap.set_offloads(subject.device.offloads ? net::kTunOffloadsBeforeUso : 0));
      return RawPath::create(tap.fd(), traffic_of(subject), shape_for(method, subject), method, method);
    });
  };
  return spec;
}

DeviceSetup with_engine(const Subject& subject, const std::string& engine) {
  DeviceSetup setup = subject.device;
  setup.engine.name = engine;
  return setup;
}

/// A process may have no io_uring: forbidden, or an old kernel.
bool may_be_missing(const DeviceSetup& setup) {
  return setup.engine.name == "uring";
}

std::string engine_label(const EngineSetup& engine) {
  return engine.poll_us == 0 ? engine.name : fmt::format("{}, poll-us={}", engine.name, engine.poll_us);
}

std::string device_name(const DeviceSetup& setup) {
  return "device, " + engine_label(setup.engine);
}

GuestSetup guest_setup(const Subject& subject, const std::string& engine) {
  GuestSetup setup;
  setup.engine = with_engine(subject, engine).engine;
  setup.event_index = subject.device.event_index;
  setup.large_frames = subject.mix.largest() > kSmallFrameBytes;
  setup.echoes = subject.direction == Direction::kRoundTrip;
  setup.batch = subject.backlog;
  setup.lose = subject.lose;
  return setup;
}

CaseSpec device_case(const Subject& subject, const std::string& engine) {
  const DeviceSetup setup = with_engine(subject, engine);
  CaseSpec spec;
  spec.name = device_name(setup);
  spec.may_be_missing = may_be_missing(setup);
  spec.make = [subject, setup] {
    return path_case(subject, [&](TapEnd& tap) {
      return DevicePath::create(tap.take_port(), traffic_of(subject), setup);
    });
  };
  return spec;
}

std::vector<CaseSpec> round_trip_cases(const Subject& subject) {
  std::vector<CaseSpec> cases;
  const bool polls = subject.device.engine.poll_us != 0;
  const auto loop = polls ? LatencyCase::Loop::kSpinning : LatencyCase::Loop::kBlocking;
  cases.push_back({polls ? "spinning read/write loop" : "blocking read/write loop",
                   [mix = subject.mix, loop] { return LatencyCase::create_raw(mix, loop); }, false});
  for (const std::string& engine : subject.engines) {
    const DeviceSetup setup = with_engine(subject, engine);
    cases.push_back({device_name(setup),
                     [mix = subject.mix, setup] { return LatencyCase::create_device(mix, setup); },
                     may_be_missing(setup)});
  }
  return cases;
}

/// As many buffers as the largest frame needs; of small frames two, as header and frame.
unsigned ring_pieces(const Subject& subject) {
  return subject.mix.largest() > subject.device.shape.receive_buffer_bytes ? 0 : 2;
}

}  // namespace

std::string Subject::title() const {
  const std::string name = mix.name();
  const auto& shape = device.shape;
  const std::string into = mix.largest() > shape.receive_buffer_bytes
                               ? fmt::format(" into {} B buffers", shape.receive_buffer_bytes)
                               : std::string();
  const std::string without = device.offloads ? "" : " without offloads";
  switch (direction) {
    case Direction::kTransmit:
      return "TX " + name + without;
    case Direction::kReceive:
      return "RX " + name + into + without;
    case Direction::kBoth:
      return "TX and RX " + name + into + without;
    case Direction::kRoundTrip:
      break;
  }
  return device.engine.poll_us == 0 ? "round trip " + name
                                    : fmt::format("round trip {}, poll-us={}", name, device.engine.poll_us);
}

GroupSpec raw_group(const Subject& subject) {
  GroupSpec group{subject.title() + ", raw", false, {}};
  const bool transmits = subject.direction == Direction::kTransmit;
  std::vector<RawMethod> methods{{Call::kPlain, 1, 0}, {Call::kVector, 1, 0}};
  if (!transmits) {
    methods.push_back({Call::kVector, 1, FrameSlots::kSlots});
  }
  for (const unsigned batch : {1U, 8U, 32U, 64U}) {
    methods.push_back({Call::kUring, batch, 0});
  }
  methods.push_back({Call::kUringVector, 32, transmits ? 0 : ring_pieces(subject)});
  methods.push_back({Call::kUringFixed, 8, 0});
  methods.push_back({Call::kUringFixed, 32, 0});
  methods.push_back({Call::kUringFixed, 64, 0});
  if (!transmits) {
    methods.push_back({Call::kMultishot, 1, 0});
  }
  for (const RawMethod& method : methods) {
    group.cases.push_back(raw_case(subject, method));
  }
  return group;
}

GroupSpec device_group(const Subject& subject) {
  GroupSpec group{subject.title(), subject.direction == Direction::kRoundTrip, {}};
  if (group.round_trips) {
    group.cases = round_trip_cases(subject);
    return group;
  }
  // Small frames are one piece in a driver's ring; so the plain call is their ceiling.
  const bool small = subject.mix.largest() <= subject.device.shape.receive_buffer_bytes;
  group.cases.push_back(raw_case(subject, {small ? Call::kPlain : Call::kVector, 1, 0}));
  if (small && subject.direction == Direction::kReceive) {
    group.cases.push_back(raw_case(subject, {Call::kVector, 1, FrameSlots::kSlots}));
  }
  for (const std::string& engine : subject.engines) {
    group.cases.push_back(device_case(subject, engine));
  }
  return group;
}

GroupSpec guest_group(const Subject& subject) {
  Subject ceiling = subject;
  ceiling.engines.clear();
  GroupSpec group = device_group(ceiling);
  group.title = "guest " + group.title;
  for (const std::string& engine : subject.engines) {
    const GuestSetup setup = guest_setup(subject, engine);
    CaseSpec spec;
    spec.name = "guest, " + engine_label(setup.engine);
    if (group.round_trips) {
      spec.make = [mix = subject.mix, setup] { return LatencyCase::create_guest(mix, setup); };
    } else {
      spec.make = [subject, setup] { return GuestCase::create(traffic_of(subject), setup); };
    }
    group.cases.push_back(std::move(spec));
  }
  return group;
}

GroupSpec stream_group(const Subject& subject) {
  GroupSpec group{"stream " + subject.title(), false, {}};
  for (const std::string& engine : subject.engines) {
    const DeviceSetup setup = with_engine(subject, engine);
    group.cases.push_back(
        {device_name(setup),
         [subject, setup] { return StreamCase::create(traffic_of(subject), setup, subject.verified_frames); },
         false});
  }
  return group;
}

}  // namespace tapir::bench
