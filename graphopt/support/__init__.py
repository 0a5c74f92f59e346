"""What a vendor's toolchain supports, as measured, and what it says of a model.

probe    (case, sweeps, suite, quantized)   questions: one-operator models with their right answers
harness  (child)                            put to the vendor, crash by crash
infer    (predicate, facts, table)          answers become rows with conditions
measure                                     all of that for one backend
check    (partition, macs, remedy)          a model held against a table
"""
