# Autocorrelations of residuals of nlme's gls on Orthodont, complete, by lag; pairs of rows at each.
# Run in this folder: Rscript autocorrelations.R > autocorrelations.json
suppressMessages({library(nlme); library(jsonlite)})

frame <- read.csv(file.path("..", "data", "Orthodont.csv"))
frame$visit <- (frame$age - 8) / 2 + 1
frame$v <- factor(frame$visit)
cases <- list(
  cs = list(corCompSymm(form = ~ visit | Subject), NULL),
  ar1 = list(corAR1(form = ~ visit | Subject), NULL),
  ar1h = list(corAR1(form = ~ visit | Subject), varIdent(form = ~ 1 | v))
)
tight <- glsControl(maxIter = 500, msMaxIter = 5000, tolerance = 1e-12, msTol = 1e-14)
out <- lapply(cases, function(case) {
  fit <- gls(distance ~ age * Sex, frame, correlation = case[[1]], weights = case[[2]], control = tight)
  sapply(c("pearson", "normalized"), function(type) {
    found <- ACF(fit, form = ~ visit | Subject, resType = type)
    list(lag = found$lag[-1], acf = found$ACF[-1], n_pairs = attr(found, "n.used")[-1])
  }, simplify = FALSE)
})
out$versions <- list(R = R.version.string, nlme = as.character(packageVersion("nlme")))
cat(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = TRUE), "\n")
