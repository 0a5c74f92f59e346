"""The one record of a run, and its terminal, JSON and HTML renderings.

    report = Report(backend="tflite", status="ok", …)
    write(report, folder)                        # report.json and report.html
    render(report, console)                      # the terminal

It knows only its own data: whoever runs the passes fills in a `graphopt.report.model.Report`.
"""
