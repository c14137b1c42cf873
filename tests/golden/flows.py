"""The definitions of the golden runs: every kind of step, and every way a run can go."""

F = "tests.golden.functions"

KINDS = f"""
name: kinds
description: One step of every kind that needs nobody.
inputs: {{topic: {{type: string}}, port: {{type: integer}}}}
labels: {{suite: golden}}
deadline: 1h
steps:
  words: {{set: {{text: "${{{{ inputs.topic }}}}", size: "${{{{ size(inputs.topic) }}}}"}}}}
  call: {{python: {{function: "{F}:echo", args: {{value: "${{{{ steps.words.output }}}}"}}}}}}
  saved: {{python: {{function: "{F}:file_with", args: {{text: "${{{{ inputs.topic }}}}"}}}}}}
  page: {{http: {{url: "http://127.0.0.1:${{{{ inputs.port }}}}/", expect: [404]}}, timeout: 10s}}
  pause: {{wait: {{for: 10ms}}, needs: [call]}}
  rest: {{wait: {{until: "2020-01-01T00:00:00Z"}}}}
  model: {{agent: {{prompt: "What is the weather in ${{{{ inputs.topic }}}}?", model: "openai:gpt-5-mini", tools: ["{F}:weather"]}}, needs: [pause]}}
  which: {{switch: [{{when: "steps.words.output.size > 3", then: long}}, {{else: short}}]}}
  long: {{set: {{kind: long}}}}
  short: {{set: {{kind: short}}}}
  joined: {{set: {{kind: "${{{{ steps.long.output }}}}"}}, needs: [long, short], join: any}}
  never: {{set: {{a: 1}}, when: "steps.words.output.size < 0"}}
finally:
  tell: {{set: {{status: "${{{{ run.status }}}}"}}}}
outputs: {{text: steps.words.output.text, kind: steps.joined.output, said: steps.model.output}}
"""
TALKS = f"""
name: talks
description: Programs, and agents that go on where another left off.
steps:
  sum: {{code: {{source: "return sum(n)", inputs: {{n: [1, 2, 3]}}}}}}
  each: {{code: {{source: "return n * n", inputs: {{n: "${{{{ item }}}}"}}}}, map: {{over: "[1, 2]"}}}}
  wrong: {{code: {{source: "return 1 // 0"}}, on_error: continue}}
  saved: {{python: {{function: "{F}:file_with", args: {{text: lisbon}}}}}}
  first: {{agent: {{prompt: "Name a city.", conversation: golden, attachments: "${{{{ steps.saved.artifacts }}}}"}}}}
  second: {{agent: {{prompt: "Why that one?", history: "${{{{ steps.first.messages }}}}", model: ["openai:gpt-5-mini", "anthropic:claude-sonnet-4-5"]}}}}
outputs: {{sum: steps.sum.output, squares: steps.each.output, said: steps.second.output}}
"""
MAP = f"""
name: items
inputs: {{count: {{type: integer}}, most: {{type: string, default: "50%"}}}}
steps:
  list: {{python: {{function: "{F}:echo", args: {{value: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]}}}}}}
  each:
    python: {{function: "{F}:flaky", args: {{item: "${{{{ item }}}}"}}}}
    map: {{over: steps.list.output, concurrency: 4, max_failures: 20%}}
    retry: {{max_attempts: 3, initial: 1ms, jitter: 0.0}}
  large:
    python: {{function: "{F}:lengthy", args: {{letter: "${{{{ string(item) }}}}"}}}}
    map: {{over: "[1, 2, 3]"}}
  none: {{python: {{function: "{F}:echo"}}, map: {{over: "[]"}}}}
outputs: {{squares: steps.each.output, empty: steps.none.output}}
"""
BROKEN_MAP = f"""
name: broken-items
steps:
  first: {{python: {{function: "{F}:echo", args: {{value: kept}}}}}}
  each:
    python: {{function: "{F}:flaky", args: {{item: "${{{{ item }}}}"}}}}
    map: {{over: "[1, 2, 7, 8]"}}
    retry: {{max_attempts: 2, initial: 1ms}}
    needs: [first]
  after: {{set: {{a: "${{{{ steps.each.output }}}}"}}}}
"""
LOOP = f"""
name: rounds
steps:
  count:
    python: {{function: "{F}:echo", args: {{value: "${{{{ iteration }}}}"}}}}
    loop: {{until: "output >= 2", delay: 5ms}}
  limited:
    set: {{n: "${{{{ iteration }}}}"}}
    loop: {{until: "false", max_iterations: 3, on_limit: succeed}}
  over:
    set: {{n: "${{{{ iteration }}}}"}}
    loop: {{until: "false", max_iterations: 2, on_limit: fail}}
    on_error: continue
"""
PEOPLE = """
name: people
steps:
  ask:
    approval: {message: Is it good?, form: {type: object, properties: {stars: {type: integer}}}, show: {a: 1}, expires: 1h}
  late: {approval: {message: Nobody answers., expires: 20ms, on_expiry: reject, on_reject: continue}}
  no: {approval: {message: Say no., on_reject: continue}}
  ping: {signal: {name: ping, payload: {type: object}}}
  missed: {signal: {name: missed, expires: 20ms}, on_error: continue}
outputs: {stars: steps.ask.output.form, no: steps.no.output.approved, ping: steps.ping.output}
"""
CHILD = f"""
name: child
inputs: {{n: {{type: integer}}}}
steps: {{work: {{python: {{function: "{F}:flaky", args: {{item: "${{{{ inputs.n }}}}"}}}}, retry: {{initial: 1ms}}}}}}
outputs: {{square: steps.work.output}}
"""
ASKS = f"""
name: asks
steps:
  work:
    agent:
      prompt: "Look. place: Lisbon, n: 4"
      tools: [{{function: "{F}:weather", approve: always}}, {{workflow: child, description: Square a number.}}]
  each:
    agent: {{prompt: "Look. n: 2", tools: [{{workflow: child}}]}}
    map: {{over: "['Faro', 'Evora']"}}
outputs: {{said: steps.work.output, each: steps.each.output}}
"""
PARENT = """
name: parent
steps:
  one: {workflow: {name: child, inputs: {n: 4}}}
  each: {workflow: {name: child, inputs: {n: "${{ item }}"}}, map: {over: "[1, 2, 7]", max_failures: 1}}
  gone: {workflow: {name: not-there}, on_error: continue}
outputs: {one: steps.one.output.square}
"""
CRASH = f"""
name: crashes
inputs: {{seconds: {{type: number}}}}
steps:
  asks: {{python: {{function: "{F}:hang", args: {{seconds: "${{{{ inputs.seconds }}}}"}}}}, on_crash: ask}}
  again: {{python: {{function: "{F}:hang", args: {{seconds: "${{{{ inputs.seconds / 1000.0 }}}}"}}}}}}
  stops: {{python: {{function: "{F}:hang", args: {{seconds: "${{{{ inputs.seconds }}}}"}}}}, on_crash: fail, on_error: continue}}
"""
FAILS = f"""
name: fails
inputs: {{code: {{type: string}}}}
steps:
  dear: {{python: {{function: "{F}:echo", args: {{value: paid}}}}}}
  bad: {{python: {{function: "{F}:refuses", args: {{code: "${{{{ inputs.code }}}}"}}}}, needs: [dear]}}
  after: {{set: {{a: "${{{{ steps.bad.output }}}}"}}}}
finally: {{sweep: {{set: {{status: "${{{{ run.status }}}}", code: "${{{{ run.error.code }}}}"}}}}}}
"""
ERRORS = f"""
name: errors
steps:
  retried: {{python: {{function: "{F}:fails_until", args: {{attempt: 3}}}}, retry: {{max_attempts: 3, initial: 1ms, backoff: linear}}}}
  slow: {{python: {{function: "{F}:hang"}}, timeout: 20ms, retry: {{max_attempts: 2, initial: 1ms}}, on_error: continue}}
  late: {{python: {{function: "{F}:hang"}}, deadline: 30ms, on_error: continue}}
  jump: {{python: {{function: "{F}:refuses", args: {{code: over}}}}, on_error: {{goto: caught}}}}
  caught: {{set: {{why: "${{{{ steps.jump.error.code }}}}"}}}}
outputs: {{retried: steps.retried.output, why: steps.caught.output.why, slow: steps.slow.error.code, late: steps.late.error.code}}
"""
TOO_LATE = f"""
name: too-late
deadline: 50ms
steps: {{slow: {{python: {{function: "{F}:hang"}}}}}}
finally: {{sweep: {{set: {{status: "${{{{ run.status }}}}"}}}}}}
"""
HANGS = f"""
name: hangs
steps:
  slow: {{python: {{function: "{F}:hang"}}}}
  ask: {{approval: {{message: Go on?}}}}
finally: {{sweep: {{set: {{status: "${{{{ run.status }}}}"}}}}}}
"""
LARGE = f"""
name: large
inputs: {{text: {{type: string}}}}
steps:
  long: {{python: {{function: "{F}:lengthy", args: {{letter: z}}}}}}
  same: {{set: {{text: "${{{{ inputs.text }}}}", long: "${{{{ steps.long.output }}}}"}}}}
  size: {{set: {{n: "${{{{ size(steps.long.output) }}}}"}}}}
  big: {{signal: {{name: big}}}}
outputs: {{same: steps.same.output, n: steps.size.output.n}}
"""
PAUSED = f"""
name: paused
steps:
  first: {{wait: {{for: 30ms}}}}
  then: {{python: {{function: "{F}:echo", args: {{value: 1}}}}, needs: [first]}}
"""
WAITS = f"""
name: waits
steps:
  sleep: {{wait: {{for: 300d}}}}
  ask: {{approval: {{message: Well?}}}}
  listen: {{signal: {{name: ping}}}}
  retry: {{python: {{function: "{F}:fails_until", args: {{attempt: 2}}}}, retry: {{initial: 300d, maximum: 300d}}}}
"""
